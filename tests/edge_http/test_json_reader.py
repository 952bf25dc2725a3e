"""JSON is read as protobuf's own library reads it; what neither takes is told by field."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import HealthCheck, example, given, settings

from edge_http import json_reader, json_writer
from mesh.refusals import InvalidInput
from tests.edge_http.everything import pb
from tests.edge_http.messages import everything, json_objects
from titan.order.v1 import checkout_service_pb2


def read(value: Any) -> Any:
    message = pb.Everything()
    json_reader.read(value, message)
    return message


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@example(pb.Everything(a_float=3.4028234663852886e38))
@given(everything())
def test_what_is_written_can_be_read(message: Any) -> None:
    """By us and as the library writes it, with either spelling of names."""
    assert read(json.loads(json_writer.to_bytes(_without_any(message)))) == message
    assert read(json_format.MessageToDict(message, preserving_proto_field_name=True)) == message


def _without_any(message: Any) -> Any:
    # The enum values inside an Any are read by the library, which does not know their short names.
    message.ClearField("any")
    for child in (*message.children, *([message.child] if message.HasField("child") else [])):
        _without_any(child)
    for child in message.by_number.values():
        _without_any(child)
    if message.HasField("chosen_message"):
        _without_any(message.chosen_message)
    return message


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(json_objects())
def test_any_object_is_taken_or_refused_as_the_library_does(value: Any) -> None:
    """Where both take an object they make the same message of it; we refuse more only where STRICTER says so."""
    theirs: Any
    try:
        theirs = json_format.ParseDict(value, pb.Everything())
    except (json_format.ParseError, ValueError, TypeError, OverflowError):
        theirs = None
    try:
        ours = read(value)
    except InvalidInput as refusal:
        assert refusal.violations
        assert theirs is None or _stricter(value)
        return
    if theirs is None:
        assert _more_lenient(value)
    else:
        assert ours == theirs


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for inner in value.values() for leaf in _leaves(inner)] + list(value)
    return [leaf for inner in value for leaf in _leaves(inner)] if isinstance(value, list) else [value]


def _stricter(value: Any) -> bool:
    """Texts that Python's int() and float() forgive, base64 with rubbish in it, times with odd digits."""
    return any(isinstance(leaf, str) and leaf not in ("", "x") for leaf in _leaves(value))


def _more_lenient(value: Any) -> bool:
    """Short enum names, and field masks in either spelling."""
    return any(isinstance(leaf, str) for leaf in _leaves(value))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (1.5, "must be a whole number, not a fraction"),
        ("1.5", "must be a whole number, not a fraction"),
        ("x", "must be a whole number, not a text"),
        (100_000_000_000, "must be between 1 and 100000"),
        (-(2**40), "must be between 1 and 100000"),
        (math.inf, "must be between 1 and 100000"),
    ],
)
def test_a_number_that_does_not_fit_is_told_in_the_words_of_its_own_limits(value: Any, words: str) -> None:
    """What the type could hold is of no use to somebody who counts mugs."""
    with pytest.raises(InvalidInput) as refused:
        json_reader.read({"quantity": value}, checkout_service_pb2.PlaceOrderLine())

    assert f"quantity: {words}" == refused.value.message


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"anInt32": "1e3"}, "anInt32"),
        ({"anInt32": "0x10"}, "anInt32"),
        ({"anInt32": "1_000"}, "anInt32"),
        ({"anInt32": " 1"}, "anInt32"),
        ({"anInt32": "٣"}, "anInt32"),
        ({"anInt32": True}, "anInt32"),
        ({"anInt32": 1.5}, "anInt32"),
        ({"anInt64": 2**63}, "anInt64"),
        ({"anUint32": -1}, "anUint32"),
        ({"aDouble": "NaN"}, "aDouble"),
        ({"aDouble": math.inf}, "aDouble"),
        ({"aFloat": 1e39}, "aFloat"),
        ({"aDouble": "1_0"}, "aDouble"),
        ({"aBool": "true"}, "aBool"),
        ({"aBool": 1}, "aBool"),
        ({"aString": 1}, "aString"),
        ({"aString": "a\x00"}, "aString"),
        ({"aBytes": "!!!"}, "aBytes"),
        ({"kind": "HUGE"}, "kind"),
        ({"kind": True}, "kind"),
        ({"numbers": 1}, "numbers"),
        ({"numbers": ["1", None]}, "numbers[1]"),
        ({"labels": {"a": 1}}, 'labels["a"]'),
        ({"labels": []}, "labels"),
        ({"byNumber": {"x": {}}}, 'byNumber["x"]'),
        ({"byNumber": {"1": {"child": {"aBool": 0}}}}, 'byNumber["1"].child.aBool'),
        ({"children": [{}, {"times": ["now"]}]}, "children[1].times[0]"),
        ({"child": {"no_such": 1}}, "child.no_such"),
        ({"child": []}, "child"),
        ({"chosenText": "a", "chosenNumber": "1"}, "chosenNumber"),
        ({"aString": "a", "a_string": "b"}, "a_string"),
        ({"time": "2026-13-01T00:00:00Z"}, "time"),
        ({"duration": "3"}, "duration"),
        ({"mask": "a b"}, "mask"),
    ],
)
def test_what_does_not_fit_is_told_by_its_path(value: Any, path: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        read(value)

    assert [violation.field for violation in refusal.value.violations] == [path]


def test_every_violation_is_told_up_to_twenty() -> None:
    with pytest.raises(InvalidInput) as refusal:
        read({f"no{number}": 1 for number in range(100)})

    assert len(refusal.value.violations) == 20


def test_null_is_the_absence_of_a_value() -> None:
    """For every field but those that hold any JSON value."""
    message = read({"aString": None, "child": None, "numbers": None, "maybeInt32": None, "value": None})

    assert message.HasField("value")
    message.ClearField("value")
    assert message == pb.Everything()


def test_both_names_of_enum_values_are_read() -> None:
    assert read({"kinds": ["VERY_SMALL", "THING_KIND_VERY_SMALL", 2]}).kinds == [2, 2, 2]


def test_masks_are_read_in_either_spelling() -> None:
    assert read({"mask": "aField,b_field,c.dEf"}).mask.paths == ["a_field", "b_field", "c.d_ef"]
