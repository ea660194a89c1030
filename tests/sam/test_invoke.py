"""`sam local invoke` runs every function with its event, each in a new container."""

import pytest

from local import sam_local
from local.sam_invoke import event_of
from local.testing import Stack
from tests.support.events import EXPECTED_RESULTS, result_of


@pytest.mark.parametrize("function", EXPECTED_RESULTS)
def test_a_function_accepts_its_event_in_a_container(stack: Stack, function: str) -> None:
    assert result_of(sam_local.invoke(function, event_of(function, stack), stack)) == EXPECTED_RESULTS[function]
