"""Refuses what looks like a card number in any text that a person sends: card data never enters Titan.

13 to 19 digits that pass the check of Luhn (ISO/IEC 7812-1, annex B), written in one piece or with separators, and
beginning as numbers of payment cards do: 2 to 6. What begins otherwise is a time in microseconds, a barcode of a
book or a number of some other trade. One glance at the bytes of the message passes nearly every call; only the rest
is looked at field by field. Ids are not looked at: one in some hundred would be refused by chance.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from itertools import accumulate, islice
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from mesh.calls import Call
from mesh.contract import AccessKind, Method
from mesh.interceptors.stage import Check, Guard
from mesh.interceptors.validation import MAX_VIOLATIONS
from mesh.refusals import CardNumberRefused, FieldViolation

LEAST_DIGITS, MOST_DIGITS = 13, 19
FIRST_DIGITS = "23456"
MOST_SEPARATORS = 3
"""Between two digits of one number, such as ` - `."""

ID_SUFFIXES = ("_id", "_ids")
ID_NAMES = frozenset({"sku", "etag", "tracking_code", "code", "state"})
"""Ids in all but name: barcodes serve as SKUs, carriers number parcels, providers make codes of what they like."""

SECRETS = frozenset({"password", "new_password"})
"""Stored as a hash alone; whoever chose such a password before has to be able to sign in."""

NOT_ACCEPTED = "looks like the number of a card: those are not accepted here"

# A hint is any row of so many digits once all separators are gone: over the bytes of the message, as UTF-8, with the
# full-width digits and the typographic spaces and dashes. What happens to stand between two fields only adds hints.
_DIGIT_BYTES = bytes([*range(0x30, 0x3A), *range(0x90, 0x9A)])
_GAP_BYTES = b" ./_-" + bytes([0xC2, 0xA0, 0xE2, *range(0x80, 0x90), 0xAF, 0xEF, 0xBC])
_AS_DIGIT = bytes(0x30 if byte in _DIGIT_BYTES else 0x78 for byte in range(256))
_HINT = b"0" * LEAST_DIGITS

_GAPS = "[ ./_\u00a0\u2000-\u2015\u202f-]"
_RUN = re.compile(rf"[0-9]+(?:{_GAPS}{{1,{MOST_SEPARATORS}}}[0-9]+)*")
_GROUP = re.compile("[0-9]+")


class CardNumbers(Guard):
    """Looks at what people send; packages pass on what was looked at before."""

    def check_of(self, method: Method) -> Check | None:
        """Return the check, where the method is for people and its request has any free text."""
        if method.access is None or method.access.kind is AccessKind.SERVICE:
            return None
        if not next(free_texts(method.request_class.DESCRIPTOR), None):
            return None

        def no_card_number(request: Message, call: Call) -> None:
            refuse_cards(request)

        return no_card_number


def may_hold_card_number(serialized: bytes) -> bool:
    """Return False where no text of a message can hold a card number, at a glance; True is for a closer look."""
    return _HINT in serialized.translate(_AS_DIGIT, _GAP_BYTES)


def free_texts(descriptor: Any, above: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield the full names of the fields, at whatever depth, in which somebody can write what they like."""
    if descriptor.full_name in above:
        return
    for field in descriptor.fields:
        if field.type == FieldDescriptor.TYPE_STRING and is_free(field):
            yield field.full_name
        elif field.message_type is not None:
            yield from free_texts(field.message_type, (*above, descriptor.full_name))


def is_free(field: FieldDescriptor) -> bool:
    """Return whether a string field holds anything but an id or a secret."""
    return not (field.name.endswith(ID_SUFFIXES) or field.name in ID_NAMES or field.name in SECRETS)


def refuse_cards(message: Message) -> None:
    """Refuse a message with a card number in one of its free texts; the number itself is not repeated.

    Raises:
        CardNumberRefused: There is one; the violations name the fields.
    """
    if not may_hold_card_number(message.SerializeToString()):
        return
    found = [FieldViolation(path, NOT_ACCEPTED) for path in islice(_holders(message), MAX_VIOLATIONS)]
    if found:
        raise CardNumberRefused(f"{found[0].field}: {NOT_ACCEPTED}", found)


def holds_card_number(text: str) -> bool:
    """Return whether a text holds what looks like a card number, in one piece or in groups."""
    return any(_row_holds_one(run.group()) for run in _RUN.finditer(unicodedata.normalize("NFKC", text)))


def _row_holds_one(run: str) -> bool:
    """Return whether groups of digits that stand beside each other in a row make a card number.

    The sums of Luhn's check are made once for the row: a text of nothing but small numbers takes no longer than others.
    """
    groups = _GROUP.findall(run)
    digits = "".join(groups)
    if len(digits) < LEAST_DIGITS:
        return False
    ends = list(accumulate(map(len, groups)))
    sums = [list(accumulate(_doubled(digits, parity), initial=0)) for parity in (0, 1)]
    for first, end in enumerate(ends):
        start = end - len(groups[first])
        if digits[start] not in FIRST_DIGITS:
            continue
        for stop in ends[first : first + MOST_DIGITS]:
            if stop - start > MOST_DIGITS:
                break
            check = sums[stop % 2]
            if stop - start >= LEAST_DIGITS and (check[stop] - check[start]) % 10 == 0:
                return True
    return False


def _doubled(digits: str, parity: int) -> Iterator[int]:
    """Yield the digits, those at even or odd places doubled as Luhn doubles them: what is over nine loses nine."""
    for place, digit in enumerate(map(int, digits)):
        yield digit if place % 2 != parity else 2 * digit - 9 * (digit > 4)


def _holders(message: Message, prefix: str = "") -> Iterator[str]:
    """Find the paths of the free texts with a card number; of a map that has it in a key, the path of the map."""
    for field, value in message.ListFields():
        path, inner = prefix + field.name, field.message_type
        if inner is not None and inner.GetOptions().map_entry:
            if any(isinstance(key, str) and holds_card_number(key) for key in value):
                yield path
            field = inner.fields_by_name["value"]
            each = [(f"{path}[{json.dumps(key)}]", value[key]) for key in value]
        elif field.is_repeated:
            each = [(f"{path}[{index}]", one) for index, one in enumerate(value)]
        else:
            each = [(path, value)]
        if field.type == FieldDescriptor.TYPE_STRING:
            if is_free(field):
                yield from (where for where, text in each if holds_card_number(text))
        elif field.message_type is not None:
            for where, one in each:
                yield from _holders(one, f"{where}.")
