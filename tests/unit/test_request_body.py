"""Any request body is either parsed or rejected with messages that this project defines."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terra_connections.errors import InvalidRequest
from terra_connections.request_body import NewReplay, NewSession, UserBody
from terra_connections.unknown_name import unknown

MESSAGES = re.compile(
    r"is empty; send a JSON object|is not JSON: .+|must have at most \d+ (kB|characters)|must not be empty"
    r"|must be (a JSON object|a string|an array of strings), not (null|a \w+|an \w+)"
    r"|must be (the code of a provider|a language tag), for example .+|must not be the word null, .+"
    r"|must not contain control characters|must name at (least|most) .+"
    r"|may not be given together with resource( or .+)?"
    r"|must be the user_id of a connection: .+|must be a day .+|must name 1 to 20 types of data, .+"
    r"|must have (either user_id or reference_id|a from that is earlier than its to)"
    r"|unknown field; (did you mean \w+\?|the fields are .+)"
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
FIELDS = ["reference_id", "resource", "resources", "return_to", "language", "user_id", "types", "from", "to"]
NAMES = st.sampled_from(FIELDS) | st.text(max_size=8)
BODIES = st.dictionaries(NAMES, JSON | st.lists(st.text(max_size=3), max_size=3), max_size=6) | JSON


@pytest.mark.parametrize("model", [NewReplay, NewSession])
@given(BODIES.map(json.dumps).map(str.encode) | st.binary(max_size=20))
def test_a_body_is_parsed_or_rejected_with_messages_of_this_project(model: type[UserBody], body: bytes) -> None:
    try:
        model.parse(body)
    except InvalidRequest as error:
        for _, sentence in error.errors:
            assert MESSAGES.fullmatch(sentence), sentence


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("referenceId", "reference_id"),
        ("reference-id", "reference_id"),
        ("refrence_id", "reference_id"),
        ("lang", None),
    ],
)
def test_a_known_name_that_is_close_is_suggested(name: str, meant: str | None) -> None:
    message = unknown("field", name, ("reference_id",))
    assert message == (
        f"unknown field; did you mean {meant}?" if meant else "unknown field; the only field is reference_id"
    )
