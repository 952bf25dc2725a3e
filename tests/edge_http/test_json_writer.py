"""Messages are written as protobuf's own library writes them, but for the names of enum values."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor
from google.rpc import error_details_pb2, status_pb2
from hypothesis import HealthCheck, given, settings

from edge_http import json_writer
from edge_http.json_names import enum_names
from tests.edge_http.everything import pb
from tests.edge_http.messages import everything


def by_library(message: Any) -> Any:
    """What protobuf writes, with the prefixes of enum values taken off."""
    return _without_prefixes(
        json_format.MessageToDict(message, always_print_fields_with_no_presence=True), message.DESCRIPTOR
    )


def _without_prefixes(value: Any, descriptor: Descriptor) -> Any:
    if not isinstance(value, dict) or descriptor.full_name.startswith("google.protobuf."):
        return value
    out = dict(value)
    for field in descriptor.fields:
        if field.json_name not in out:
            continue
        found = out[field.json_name]
        entry = field.message_type if field.message_type and field.message_type.GetOptions().map_entry else None
        target = entry.fields_by_name["value"] if entry else field
        if target.enum_type is not None:

            def convert(item: Any, names: Any = target.enum_type) -> Any:
                return enum_names(names)[names.values_by_name[item].number] if isinstance(item, str) else item
        elif target.message_type is not None:

            def convert(item: Any, inner: Any = target.message_type) -> Any:
                return _without_prefixes(item, inner)
        else:
            continue
        if entry:
            out[field.json_name] = {key: convert(item) for key, item in found.items()}
        elif field.is_repeated:
            out[field.json_name] = [convert(item) for item in found]
        else:
            out[field.json_name] = convert(found)
    return out


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(everything())
def test_every_message_is_written_as_the_library_writes_it(message: Any) -> None:
    """Every kind of field; absent messages are absent, defaults are there."""
    # Through text on both sides: 1.0 and 1 are the same JSON number.
    assert json.loads(json_writer.to_bytes(message)) == json.loads(json.dumps(by_library(message)))


def test_enum_values_lose_their_prefix_only_where_every_value_has_one() -> None:
    message = pb.Everything(kind=2, odd=1, kinds=[0, 1, 99])

    written = json_writer.to_value(message)

    assert (written["kind"], written["odd"], written["kinds"]) == ("VERY_SMALL", "ODD_1", ["UNSPECIFIED", "LARGE", 99])


def test_a_message_is_always_the_same_bytes() -> None:
    """Maps are sorted: a stored answer is given again byte for byte."""
    labels = {f"k{number}": "v" for number in range(50)}
    messages = [pb.Everything(labels=dict(items)) for items in (labels.items(), reversed(labels.items()))]

    assert json_writer.to_bytes(messages[0]) == json_writer.to_bytes(messages[1])


def test_errors_inside_results_carry_their_details() -> None:
    status = status_pb2.Status(code=9, message="no")
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="R", domain="titan", metadata={"b": "1", "a": "2"}))

    assert json_writer.to_value(status) == {
        "code": 9,
        "message": "no",
        "details": [
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "R",
                "domain": "titan",
                "metadata": {"a": "2", "b": "1"},
            }
        ],
    }


def test_messages_of_unknown_types_are_named_and_nothing_more() -> None:
    known, unknown = pb.Everything(), pb.Everything()
    known.any.Pack(pb.Thing(kind=1))
    unknown.any.type_url = "type.googleapis.com/nowhere.Nothing"

    assert json_writer.to_value(known)["any"]["kind"] == "LARGE"
    assert json_writer.to_value(unknown)["any"] == {"@type": "type.googleapis.com/nowhere.Nothing"}


@pytest.mark.parametrize(
    ("value", "text"), [(float("nan"), '"NaN"'), (float("inf"), '"Infinity"'), (float("-inf"), '"-Infinity"')]
)
def test_numbers_that_json_does_not_have_are_texts(value: float, text: str) -> None:
    assert f'"aDouble":{text}' in json_writer.to_bytes(pb.Everything(a_double=value)).decode()
