"""events/*.json: one event per function, as the gateway sends it now, and accepted by the function."""

import json
from collections.abc import Iterator

import pytest

from local import events
from local.testing import Stack, running_stack
from tests.events import ANSWERS, answer_of
from tests.integration.handlers import Handlers, running_handlers
from tools.environment import ROOT

FILES = {file.stem: json.loads(file.read_text()) for file in events.FOLDER.glob("*.json")}


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, dict[str, events.Event]]]:
    """A separate stack, because a sweep is among the events, and the events that it recorded."""
    folder = tmp_path_factory.mktemp("events")
    with running_stack(more=("--events", str(folder))) as stack:
        yield stack, events.record(stack, folder)


@pytest.fixture(scope="module")
def own_handlers(recording: tuple[Stack, dict[str, events.Event]]) -> Iterator[Handlers]:
    with running_handlers(recording[0]) as running:
        yield running


def shape(value: object) -> object:
    """Replace each value by its type."""
    if isinstance(value, dict):
        return {name: shape(field) for name, field in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value]
    return type(value)


def test_every_function_has_an_event() -> None:
    functions = {handler.parent.name for handler in (ROOT / "functions").glob("*/handler.py")}
    assert FILES.keys() == ANSWERS.keys() == functions


def test_no_event_is_stale(recording: tuple[Stack, dict[str, events.Event]]) -> None:
    _, recorded = recording
    for name, event in recorded.items():
        assert shape(FILES[name]) == shape(event), f"events/{name}.json is stale: make events"


def test_no_event_holds_a_secret() -> None:
    for file in events.FOLDER.glob("*.json"):
        assert "Bearer " not in file.read_text().replace("Bearer SERVICE_KEY", "")
        assert "v1=" not in file.read_text().replace("t=0,v1=SIGNATURE", "")


@pytest.mark.parametrize("function", ANSWERS)
def test_a_function_takes_its_event(own_handlers: Handlers, function: str) -> None:
    run = own_handlers.run(function, events.with_secrets(FILES[function], own_handlers.stack))
    assert run.error is None
    assert answer_of(run.result) == ANSWERS[function]
