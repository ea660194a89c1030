"""The code conforms to openapi.yaml."""

import json
import re
from dataclasses import replace
from typing import Any

from terra_connections import errors, problems
from terra_connections.connections.connection import Connection
from terra_connections.connections.facts import Position, Status
from terra_connections.ids import ReferenceId, SessionId, UserId
from terra_connections.request_body import NewSession
from terra_connections.sessions.session import Flow, Reason, Repair, Session, SessionStatus, SessionView
from terra_connections.terra.providers import Provider, ProviderType
from tools.environment import ROOT

Document = dict[str, Any]


def subclasses(kind: type[Exception]) -> set[type[Exception]]:
    return {kind}.union(*(subclasses(child) for child in kind.__subclasses__()))


def test_every_error_has_a_response() -> None:
    abstract = {errors.TerraConnectionsError, errors.RetryLater}
    handled = {kind for kind in problems.ANSWERED if issubclass(kind, errors.TerraConnectionsError)}
    assert subclasses(errors.TerraConnectionsError) - abstract == handled


def test_the_tree_in_the_docstring_names_every_error() -> None:
    drawn = set(re.findall(r"[├└]── (\w+)", errors.__doc__ or ""))
    assert drawn | {"TerraConnectionsError"} == {kind.__name__ for kind in subclasses(errors.TerraConnectionsError)}


def test_the_contract_lists_every_problem_code(openapi: Document) -> None:
    contract = openapi["components"]["schemas"]["ProblemCode"]["enum"]
    assert set(contract) == {code for _, code, _ in problems.TABLE.values()}


def test_a_new_session_is_parsed_as_the_contract_defines(openapi: Document) -> None:
    contract = openapi["components"]["schemas"]["NewSession"]
    read = NewSession.model_json_schema()
    assert contract["additionalProperties"] is read["additionalProperties"] is False
    assert set(contract["properties"]) == set(read["properties"])
    assert set(contract.get("required", ())) == set(read.get("required", ()))
    for name in ("resource", "language"):
        options = read["properties"][name]["anyOf"]
        assert contract["properties"][name]["pattern"] == options[0]["pattern"]
    resources = contract["properties"]["resources"]
    assert {name: resources[name] for name in ("minItems", "maxItems")} == {
        name: read["properties"]["resources"][name] for name in ("minItems", "maxItems")
    }
    assert resources["items"]["pattern"] == read["properties"]["resources"]["items"]["pattern"]


def test_a_session_has_the_fields_of_the_contract(openapi: Document) -> None:
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
    contract = openapi["components"]["schemas"]["Session"]
    assert set(shown) == set(contract["required"])
    repair = SessionView(replace(session, repairs=Repair(UserId("u"), Position(0))), SessionStatus.PENDING).as_json()
    assert set(repair) == set(contract["properties"]) == {*contract["required"], "repairs"}
    assert set(SessionStatus) <= set(contract["properties"]["status"]["enum"])
    assert {None, *Reason} == set(contract["properties"]["reason"]["enum"])


def test_a_connection_has_the_fields_of_the_contract(openapi: Document) -> None:
    at = Position(0)
    shown = Connection("c", UserId("u"), None, "FITBIT", Status.CONNECTED, (), at, at).as_json()
    contract = openapi["components"]["schemas"]["Connection"]
    assert set(shown) == set(contract["required"]) == set(contract["properties"])
    assert set(Status) <= set(contract["properties"]["status"]["enum"])


def test_a_provider_has_the_fields_of_the_contract(openapi: Document) -> None:
    shown = Provider("FITBIT", "Fitbit", ProviderType.API, None).as_json()
    contract = openapi["components"]["schemas"]["Provider"]
    assert set(shown) == set(contract["required"]) == set(contract["properties"])
    assert set(ProviderType) == set(contract["properties"]["type"]["enum"])


def test_every_code_has_a_heading_with_one_example_of_its_response(template: Document) -> None:
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


def test_the_detail_of_a_problem_does_not_repeat_its_title() -> None:
    text = (ROOT / "docs/problems.md").read_text()
    for shown in map(json.loads, re.findall(r"^```json\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)):
        assert shown["title"].lower() not in shown.get("detail", "").lower()


def test_the_contract_names_every_code_at_its_responses(openapi: Document) -> None:
    responses = json.dumps([openapi["paths"], openapi["components"]["responses"]])
    for _, code, _ in problems.TABLE.values():
        assert code == "not_signed" or f"`{code}`" in responses
