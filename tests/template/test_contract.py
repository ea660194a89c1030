"""The code conforms to openapi.yaml."""

import json
import re
from typing import Any

from terra_connections import errors, problems
from terra_connections.connections.connection import Connection
from terra_connections.connections.facts import Position, Status
from terra_connections.ids import ReferenceId, SessionId, UserId
from terra_connections.request_body import NewSession
from terra_connections.sessions.session import Flow, Reason, Session, SessionStatus, SessionView
from terra_connections.terra.providers import Provider, ProviderType
from tools.environment import ROOT

Document = dict[str, Any]


def subclasses(kind: type[Exception]) -> set[type[Exception]]:
    return {kind}.union(*(subclasses(child) for child in kind.__subclasses__()))


def test_every_error_that_can_be_raised_has_an_answer() -> None:
    abstract = {errors.TerraConnectionsError, errors.RetryLater}
    answered = {kind for kind in problems.ANSWERED if issubclass(kind, errors.TerraConnectionsError)}
    assert subclasses(errors.TerraConnectionsError) - abstract == answered


def test_the_drawn_tree_names_every_error() -> None:
    drawn = set(re.findall(r"[├└]── (\w+)", errors.__doc__ or ""))
    assert drawn | {"TerraConnectionsError"} == {kind.__name__ for kind in subclasses(errors.TerraConnectionsError)}


def test_the_contract_lists_every_problem_code(openapi: Document) -> None:
    promised = openapi["components"]["schemas"]["Problem"]["properties"]["code"]["enum"]
    assert set(promised) == {code for _, code, _ in problems.TABLE.values()}


def test_a_new_session_is_read_as_the_contract_says(openapi: Document) -> None:
    promised = openapi["components"]["schemas"]["NewSession"]
    read = NewSession.model_json_schema()
    assert promised["additionalProperties"] is read["additionalProperties"] is False
    assert set(promised["properties"]) == set(read["properties"])
    assert set(promised.get("required", ())) == set(read.get("required", ()))
    for name in ("resource", "language"):
        options = read["properties"][name]["anyOf"]
        assert promised["properties"][name]["pattern"] == options[0]["pattern"]
    resources = promised["properties"]["resources"]
    assert {name: resources[name] for name in ("minItems", "maxItems")} == {
        name: read["properties"]["resources"][name] for name in ("minItems", "maxItems")
    }
    assert resources["items"]["pattern"] == read["properties"]["resources"]["items"]["pattern"]


def test_a_session_is_shown_as_the_contract_says(openapi: Document) -> None:
    session = Session(
        session_id=SessionId("s"),
        reference_id=ReferenceId("r"),
        flow=Flow.PROVIDER,
        resource="FITBIT",
        user_id=UserId("u"),
        success_hash="",
        failure_hash="",
        return_to=None,
        language=None,
        created_at=0,
        expires_at=0,
        ttl=0,
    )
    shown = SessionView(session, SessionStatus.PENDING).as_json()
    promised = openapi["components"]["schemas"]["Session"]
    assert set(shown) == set(promised["required"]) == set(promised["properties"]) - {"auth_url", "warnings"}
    assert set(SessionStatus) <= set(promised["properties"]["status"]["enum"])
    assert {None, *Reason} == set(promised["properties"]["reason"]["enum"])


def test_a_connection_is_shown_as_the_contract_says(openapi: Document) -> None:
    at = Position(0)
    shown = Connection("c", UserId("u"), None, "FITBIT", Status.CONNECTED, (), at, at).as_json()
    promised = openapi["components"]["schemas"]["Connection"]
    assert set(shown) == set(promised["required"]) == set(promised["properties"])
    assert set(Status) <= set(promised["properties"]["status"]["enum"])


def test_a_provider_is_shown_as_the_contract_says(openapi: Document) -> None:
    shown = Provider("FITBIT", "Fitbit", ProviderType.API, None).as_json()
    promised = openapi["components"]["schemas"]["Provider"]
    assert set(shown) == set(promised["required"]) == set(promised["properties"])
    assert set(ProviderType) == set(promised["properties"]["type"]["enum"])


def test_every_code_has_a_heading_with_one_example_that_is_what_is_answered(template: Document) -> None:
    page = template["Parameters"]["ProblemsUrl"]["Default"]
    assert page == "/docs/problems.md"
    sections = re.split(r"^## `(\w+)`\n", (ROOT / page.lstrip("/")).read_text(), flags=re.MULTILINE)[1:]
    documented = dict(zip(sections[::2], sections[1::2], strict=True))
    assert list(documented) == sorted({code for _, code, _ in problems.TABLE.values()})
    for status, code, title in problems.TABLE.values():
        [example] = re.findall(r"^```json\n(.*?)^```$", documented[code], re.MULTILINE | re.DOTALL)
        always = {"type": f"{page}#{code}", "title": title, "status": status.value, "code": code}
        shown = json.loads(example)
        assert {name: shown[name] for name in always} == always
        assert set(shown) - set(always) <= {"detail", "errors"}
        assert documented[code].startswith(f"{status.value}"), code


def test_what_a_problem_says_in_detail_is_more_than_its_title() -> None:
    text = (ROOT / "docs/problems.md").read_text()
    for shown in map(json.loads, re.findall(r"^```json\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)):
        assert shown["title"].lower() not in shown.get("detail", "").lower()


def test_the_contract_names_every_code_where_it_can_be_answered(openapi: Document) -> None:
    said = json.dumps([openapi["paths"], openapi["components"]["responses"]])
    for _, code, _ in problems.TABLE.values():
        assert code == "not_signed" or f"`{code}`" in said
