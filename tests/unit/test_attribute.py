from typing import Any

import pytest
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from terra_connections.dynamodb import deserialize, serialize

TEXTS = st.text(st.characters(codec="utf-8"))
INTEGERS = st.integers(-(10**37), 10**37)  # DynamoDB keeps 38 digits
ATTRIBUTES = st.recursive(
    st.none() | st.booleans() | INTEGERS | TEXTS | st.sets(TEXTS, min_size=1),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=10,
)


def in_order(attribute: Any) -> Any:  # noqa: ANN401 - JSON
    """The same attribute; a set's texts have no order of their own."""
    if isinstance(attribute, dict):
        return {name: sorted(each) if name == "SS" else in_order(each) for name, each in attribute.items()}
    return [in_order(each) for each in attribute] if isinstance(attribute, list) else attribute


SLOWLY = settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow], deadline=None)


@SLOWLY
@given(st.dictionaries(st.sampled_from("abc"), ATTRIBUTES))
def test_what_is_kept_is_what_boto3_would_keep(value: dict[str, Any]) -> None:
    assert in_order(serialize(value)) == in_order(TypeSerializer().serialize(value))


@SLOWLY
@given(ATTRIBUTES)
def test_what_was_kept_is_read_as_boto3_reads_it(value: object) -> None:
    kept: Any = serialize(value)
    assert deserialize(kept) == value == TypeDeserializer().deserialize(kept)


@pytest.mark.parametrize("value", [1.5, b"bytes", set(), object()])
def test_what_our_items_never_hold_is_refused(value: object) -> None:
    with pytest.raises(TypeError):
        serialize(value)


@pytest.mark.parametrize("attribute", [{"B": b"bytes"}, {"NS": ["1"]}])
def test_what_is_none_of_ours_is_not_read(attribute: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        deserialize(attribute)
