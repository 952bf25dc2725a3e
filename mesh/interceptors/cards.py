"""Refuses what looks like a card number in any text that a person sends: card data never enters Titan.

14 to 19 digits that pass the check of Luhn (ISO/IEC 7812-1, annex B) and begin as numbers of payment cards do, in one
piece, digit by digit, or in groups as they are printed: of four digits or more, the last perhaps shorter. So barcodes
of goods (13 digits: one in ten would pass the check), years, times, sizes and amounts in lists are none. Digits may be
of any script or style, and a code of three or four digits may follow without a gap.

One glance at the bytes of the message passes nearly every call; only the rest is looked at field by field. Ids are not
looked at: one in some hundred would be refused by chance.
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

LEAST_DIGITS, MOST_DIGITS = 14, 19
GROUP_DIGITS = 4
BEGINNINGS = re.compile("2[2-7]|3[04-9]|[456]")
"""What is issued begins so; 20 and 21 are years and dates."""
GLUED_CODE_DIGITS = {"3": 4}
"""Of the security code, by the first digit of the number that it follows; 3 where none is named. Number and code are
19 digits together, of American Express as of all others."""

SEPARATORS = " \t\n\r./,:_-\u00a0\u00ad\u00b7\u2028\u2029\u202f\u205f\u2060\u20e3\u2212\u3000\ufe0f\ufeff" + "".join(
    map(chr, range(0x2000, 0x2016))
)
"""Blanks, breaks, dots, commas, colons, strokes and dashes, typographic and invisible ones too, and what makes a key of
a digit."""
MOST_SEPARATORS = 3
"""Between two digits of one number, such as ` - `."""

ID_SUFFIXES = ("_id", "_ids")
ID_NAMES = frozenset({"sku", "etag", "tracking_code", "code", "state"})
"""Ids in all but name: barcodes serve as SKUs, carriers number parcels, providers make codes of what they like."""

SECRETS = frozenset({"password", "new_password"})
"""Stored as a hash alone; whoever chose such a password before has to be able to sign in."""

NOT_ACCEPTED = "looks like the number of a card: those are not accepted here"

# A hint is any row of so many digits once all separators are gone, over the bytes of the message. Beyond ASCII, digits
# and separators are UTF-8: a byte of LEADS, which is passed over, and others, each of which counts as a digit. Nothing
# that the closer look finds has fewer; what happens to stand between two fields, and other scripts, only add hints.
LEADS = bytes([0xC2, 0xD9, 0xDB, 0xDF, 0xE0, 0xE1, 0xE2, 0xE3, 0xEA, 0xEF, 0xF0])
_PASSED_OVER = LEADS + SEPARATORS.encode("ascii", "ignore")
_AS_DIGIT = bytes(0x30 if 0x30 <= byte <= 0x39 or 0x80 <= byte <= 0xBF else 0x78 for byte in range(256))
_HINT = b"0" * LEAST_DIGITS
# Most rows that are long enough begin with another digit, as ids do that are mostly zeros: a second glance tells.
_AS_ITSELF = bytes(byte if 0x30 <= byte <= 0x39 else 0x3F if 0x80 <= byte <= 0xBF else 0x78 for byte in range(256))
_BEGUN = re.compile(rb"[2-6?][0-9?]{%d}" % (LEAST_DIGITS - 1))

_RUN = re.compile(rf"[0-9]+(?:[{re.escape(SEPARATORS)}]{{1,{MOST_SEPARATORS}}}[0-9]+)*")
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
    if _HINT not in serialized.translate(_AS_DIGIT, _PASSED_OVER):
        return False
    return _BEGUN.search(serialized.translate(_AS_ITSELF, _PASSED_OVER)) is not None


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
    return any(_row_holds_one(_GROUP.findall(run)) for run in _RUN.findall(_plain(text)))


def _plain(text: str) -> str:
    """Return a text with the digits of ASCII for those of every script and style."""
    if text.isascii():
        return text
    normal = unicodedata.normalize("NFKC", text)
    return "".join(str(unicodedata.decimal(each)) if each.isdecimal() else each for each in normal)


def _row_holds_one(groups: list[str]) -> bool:
    """Return whether groups of digits that stand beside each other in a row hold a card number.

    The sums of Luhn's check are made once for the row: a text of nothing but small numbers takes no longer than others.
    """
    digits = "".join(groups)
    if len(digits) < LEAST_DIGITS:
        return False
    ends = list(accumulate(map(len, groups)))
    sums = [list(accumulate(_doubled(digits, parity), initial=0)) for parity in (0, 1)]
    for first, end in enumerate(ends):
        start = end - len(groups[first])
        if not BEGINNINGS.match(digits, start):
            continue
        for stop in _stops(groups, first, start, digits[start]):
            check = sums[stop % 2]
            if (check[stop] - check[start]) % 10 == 0:
                return True
    return False


def _stops(groups: list[str], first: int, start: int, beginning: str) -> Iterator[int]:
    """Yield where a number may end that begins with a group, which stands at a place of the row."""
    if len(groups[first]) == MOST_DIGITS:
        yield start + MOST_DIGITS - GLUED_CODE_DIGITS.get(beginning, 3)
    stop, one_by_one = start, len(groups[first]) == 1
    for group in groups[first : first + MOST_DIGITS]:
        stop += len(group)
        if stop - start > MOST_DIGITS or (one_by_one and len(group) > 1):
            return
        if stop - start >= LEAST_DIGITS:
            yield stop
        if not one_by_one and len(group) < GROUP_DIGITS:
            return


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
