"""openapi.yaml has an example of every request and of every response, and each one has its schema."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import validate

from terra_connections import problems
from tests.support.documents import blocks
from tools.environment import ROOT

Document = dict[str, Any]
METHODS = {"get", "post", "put", "patch", "delete"}
WITHOUT_BODY = {"204", "303", "304"}
OBJECTS = {"$ref", "properties", "allOf", "anyOf"}
"""A schema with one of these names the members of an object."""
TEXTS = ROOT / "layers/terra_connections/terra_connections/redirects/texts/en.json"


@dataclass(frozen=True)
class Contract:
    """The document, with its references."""

    document: Document

    def resolved(self, part: Document) -> Document:
        """Return what a reference refers to."""
        while "$ref" in part:
            names = part["$ref"].removeprefix("#/").split("/")
            part = self.document
            for name in names:
                part = part[name]
        return part

    def operations(self) -> Iterator[tuple[str, Document]]:
        for path, methods in self.document["paths"].items():
            for method in METHODS & methods.keys():
                yield f"{method.upper()} {path}", methods[method]

    def responses(self) -> Iterator[tuple[str, str, Document]]:
        """Yield each operation, status and response."""
        for name, operation in self.operations():
            for status, response in operation["responses"].items():
                yield name, status, self.resolved(response)

    def examples(self, part: Document) -> list[Any]:
        """Return the examples of a parameter, a header, or a body of one media type."""
        named = [self.resolved(example)["value"] for example in part.get("examples", {}).values()]
        return [part["example"], *named] if "example" in part else named

    def validate(self, example: object, schema: Document) -> None:
        """Raise an error if an example has another schema, or a member that it does not name."""
        is_closed = isinstance(example, dict) and bool(schema.keys() & OBJECTS)
        closed: Document = {"unevaluatedProperties": False} if is_closed else {}
        whole = {**schema, **closed, "components": self.document["components"]}
        Draft202012Validator(whole, format_checker=FormatChecker()).validate(example)


@pytest.fixture
def contract(openapi: Document) -> Contract:
    validate(openapi)
    return Contract(openapi)


def test_every_request_has_valid_examples(contract: Contract) -> None:
    for name, operation in contract.operations():
        parts = [contract.resolved(parameter) for parameter in operation.get("parameters", ())]
        parts += contract.resolved(operation.get("requestBody", {})).get("content", {}).values()
        for part in parts:
            examples = contract.examples(part)
            assert examples, f"{name}: {part.get('name', 'the body')} has no example"
            for example in examples:
                contract.validate(example, part["schema"])


def test_every_response_has_valid_examples(contract: Contract) -> None:
    for name, status, response in contract.responses():
        content = response.get("content", {})
        assert bool(content) == (status not in WITHOUT_BODY), f"{name}, {status}"
        for media_type, part in content.items():
            examples = contract.examples(part)
            assert examples, f"{name}, {status}: {media_type} has no example"
            for example in examples:
                contract.validate(example, part["schema"])


def test_every_header_of_a_response_has_a_valid_example(contract: Contract) -> None:
    for name, status, response in contract.responses():
        for header, part in response.get("headers", {}).items():
            examples = contract.examples(part)
            assert examples or "const" in part["schema"], f"{name}, {status}: {header} has no example"
            for example in examples:
                contract.validate(example, part["schema"])


def test_the_examples_of_a_problem_are_those_of_its_status_and_codes(contract: Contract) -> None:
    codes = {code for _, code, _ in problems.TABLE.values()}
    for name, status, response in contract.responses():
        content = response.get("content", {}).get("application/problem+json")
        shown = contract.examples(content) if content else []
        assert {str(example["status"]) for example in shown} <= {status}, f"{name}, {status}"
        described = set(re.findall(r"`(\w+)`", response["description"])) & codes
        assert {example["code"] for example in shown} == described, f"{name}, {status}"


def test_the_examples_of_problems_are_those_of_their_page(contract: Contract) -> None:
    page = [json.loads(block) for block in blocks((ROOT / "docs/problems.md").read_text(), "json")]
    documented = {example["code"]: example for example in page}
    examples = {name: part["value"] for name, part in contract.document["components"]["examples"].items()}
    assert {code: examples[code] for code in documented} == documented
    # Another example of a code differs in its detail only.
    for example in examples.values():
        if isinstance(example, dict) and "code" in example:
            assert {**example, "detail": None} == {**documented[example["code"]], "detail": None}


def test_the_examples_of_pages_have_their_texts(contract: Contract) -> None:
    texts = [
        {str(each.get(f"{name}_of", each[name])).replace("{provider}", "Fitbit") for name in ("title", "text")}
        for each in json.loads(TEXTS.read_text()).values()
        if isinstance(each, dict)
    ]
    pages = [part["value"] for part in contract.document["components"]["examples"].values() if "summary" in part]
    assert pages
    for page in pages:
        [title], [text] = re.findall(r"<h1>(.*)</h1>", page), re.findall(r"<p>(.*)</p>", page)
        assert {title, text} in texts


def test_every_named_example_is_used(contract: Contract) -> None:
    used = set(re.findall(r"#/components/examples/(\w+)", json.dumps(contract.document)))
    assert used == set(contract.document["components"]["examples"])
