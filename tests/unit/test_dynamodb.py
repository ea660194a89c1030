from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from terra_connections.dynamodb import deserialize, serialize

TEXTS = st.text(st.characters(codec="utf-8"))
INTEGERS = st.integers(-(10**37), 10**37)  # DynamoDB keeps 38 digits
ATTRIBUTES = st.recursive(
    st.none() | st.booleans() | INTEGERS | TEXTS | st.sets(TEXTS, min_size=1) | st.sets(INTEGERS, min_size=1),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=10,
)


def types(value: object) -> Any:  # noqa: ANN401 - nested types
    if isinstance(value, dict):
        return {name: types(each) for name, each in value.items()}
    return [types(each) for each in value] if isinstance(value, list | set) else type(value)


@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(ATTRIBUTES)
def test_a_stored_value_is_read_as_it_was_written_and_numbers_are_integers(value: object) -> None:
    read = deserialize(serialize(value))
    assert read == value
    assert types(read) == types(value)


@pytest.mark.parametrize("value", [1.5, object()])
def test_a_value_that_dynamodb_does_not_store_is_rejected(value: object) -> None:
    with pytest.raises(TypeError):
        serialize(value)
