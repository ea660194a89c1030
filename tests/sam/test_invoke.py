"""`sam local invoke` runs every function with its event, each in a new container."""

import json

import pytest

from local import events, sam_local
from local.testing import Stack
from tests.events import ANSWERS, answer_of


@pytest.mark.parametrize("function", ANSWERS)
def test_a_function_takes_its_event_in_a_container(stack: Stack, function: str) -> None:
    event = json.loads((events.FOLDER / f"{function}.json").read_text())
    assert answer_of(sam_local.invoke(function, events.with_secrets(event, stack), stack)) == ANSWERS[function]
