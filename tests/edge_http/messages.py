"""Messages of the test contract for Hypothesis: every kind of field, absent, default and extreme."""

from __future__ import annotations

from typing import Any

from google.protobuf import any_pb2, struct_pb2
from hypothesis import strategies as st

from tests.edge_http.everything import pb

TEXTS = st.text(st.characters(exclude_characters="\x00", exclude_categories=("Cs",)), max_size=12)
NAMES = st.from_regex(r"[a-z]{1,5}(_[a-z]{1,4}){0,2}", fullmatch=True)
INT32 = st.integers(-(2**31), 2**31 - 1)
INT64 = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False, width=32)
DOUBLES = st.floats(allow_nan=False, allow_infinity=False)
KINDS = st.sampled_from([0, 1, 2])
SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "an_int32": INT32,
    "an_int64": INT64,
    "an_uint32": st.integers(0, 2**32 - 1),
    "an_uint64": st.integers(0, 2**64 - 1),
    "a_sint32": INT32,
    "a_sint64": INT64,
    "a_fixed32": st.integers(0, 2**32 - 1),
    "a_fixed64": st.integers(0, 2**64 - 1),
    "a_sfixed32": INT32,
    "a_sfixed64": INT64,
    "a_float": FLOATS,
    "a_double": DOUBLES,
    "a_bool": st.booleans(),
    "a_string": TEXTS,
    "a_bytes": st.binary(max_size=12),
    "kind": KINDS,
    "odd": st.sampled_from([0, 1]),
    "maybe_int32": INT32,
    "maybe_string": TEXTS,
    "maybe_kind": KINDS,
    "numbers": st.lists(INT64, max_size=3),
    "texts": st.lists(TEXTS, max_size=3),
    "kinds": st.lists(KINDS, max_size=3),
    "doubles": st.lists(DOUBLES, max_size=3),
    "labels": st.dictionaries(TEXTS, TEXTS, max_size=3),
    "by_bool": st.dictionaries(st.booleans(), INT64, max_size=2),
    "kinds_by_name": st.dictionaries(TEXTS, KINDS, max_size=3),
    "chosen_text": TEXTS,
    "chosen_number": INT64,
}
SECONDS = st.integers(-62_135_596_800, 253_402_300_799)
NANOS = st.one_of(st.sampled_from([0, 1, 1_000, 500_000_000, 120_000]), st.integers(0, 999_999_999))


@st.composite
def everything(draw: Any, depth: int = 2) -> Any:
    """A message with some of its fields set."""
    names = draw(st.lists(st.sampled_from(sorted(SCALARS)), max_size=8, unique=True))
    message = pb.Everything(**{name: draw(SCALARS[name]) for name in names})
    parts = draw(
        st.lists(st.sampled_from(["time", "duration", "mask", "wrapped", "times", "struct", "any"]), max_size=3)
    )
    if "time" in parts:
        message.time.seconds, message.time.nanos = draw(SECONDS), draw(NANOS)
    if "times" in parts:
        message.times.add(seconds=draw(SECONDS), nanos=draw(NANOS))
    if "duration" in parts:
        seconds, nanos = draw(st.integers(-315_576_000_000, 315_576_000_000)), draw(NANOS)
        message.duration.seconds, message.duration.nanos = seconds, -nanos if seconds < 0 else nanos
    if "mask" in parts:
        message.mask.paths.extend(draw(st.lists(NAMES, max_size=3)))
        message.mask.SetInParent()
    if "wrapped" in parts:
        message.wrapped_string.value = draw(TEXTS)
        message.wrapped_int64.value = draw(INT64)
        message.wrapped_bool.SetInParent()
    if "struct" in parts:
        message.struct.update({draw(TEXTS): draw(TEXTS), "n": None, "l": [1.5, True]})
        message.value.CopyFrom(struct_pb2.Value(null_value=0))
    if "any" in parts:
        message.any.CopyFrom(any_pb2.Any())
        message.any.Pack(draw(st.sampled_from([pb.Size(weight_grams=3), message.time, pb.Size()])))
    if depth:
        for child in draw(st.lists(everything(depth - 1), max_size=2)):
            message.children.append(child)
        if draw(st.booleans()):
            message.child.CopyFrom(draw(everything(depth - 1)))
            message.by_number[draw(INT32)].CopyFrom(message.child)
        if draw(st.integers(0, 4)) == 0:
            message.chosen_message.CopyFrom(draw(everything(depth - 1)))
    return message


JSON_VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**65), 2**65),
        st.floats(allow_nan=False, allow_infinity=False),
        TEXTS,
        st.sampled_from(
            ["1", "-7", "1.5", "LARGE", "THING_KIND_LARGE", "ODD_1", "2026-11-21T10:00:00Z", "3.5s", "aB,c"]
        ),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=5,
)
NESTED = [f for f in pb.Everything.DESCRIPTOR.fields if f.name not in ("any",)]


@st.composite
def json_objects(draw: Any) -> Any:
    """Objects that might be the JSON of a message: real names, values of every kind, many of them wrong."""
    fields = draw(st.lists(st.sampled_from(NESTED), max_size=4, unique_by=lambda field: field.name))
    return {draw(st.sampled_from([f.name, f.json_name])): draw(JSON_VALUES) for f in fields}
