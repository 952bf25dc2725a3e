"""Messages made from rows: held against the limits of the contract here, so that one row never fails its neighbours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from google.protobuf.message import Message

from mesh.interceptors.cards import refuse_cards
from mesh.interceptors.validation import invalid_input, refuse_nul, validator
from mesh.refusals import InvalidInput
from svc_bulk.errors import RowInvalid
from svc_bulk.jobs.rows import Row
from svc_bulk.jobs.table import Thing

M = TypeVar("M", bound=Message)


def checked(message: M) -> M:
    """Return a message that breaks no limit of the contract, and holds no card number.

    Raises:
        RowInvalid: It does.
    """
    try:
        violations = validator().collect_violations(message)
        if violations:
            raise invalid_input(violations, message.DESCRIPTOR)
        refuse_nul(message)
        refuse_cards(message)
    except InvalidInput as problem:
        raise RowInvalid(problem.message) from None
    return message


def thing(number: int, rows: int, make: Callable[[], Message]) -> Thing:
    """Return what some rows ask for, or the problem that they have."""
    try:
        return Thing(number, rows, checked(make()))
    except RowInvalid as problem:
        return Thing(number, rows, problem=problem)
    except (ValueError, TypeError):
        # What protobuf says of a value that a field can't hold: too large, or half a character.
        return Thing(number, rows, problem=RowInvalid("has a value that its field can't hold"))


def things(rows: Iterator[Row], make: Callable[[dict[str, Any]], Message]) -> Iterator[Thing]:
    """Yield what each row asks for."""
    for row in rows:
        if row.values is None:
            yield Thing(row.number, 1, problem=row.problem)
        else:
            values = row.values
            yield thing(row.number, 1, lambda: make(values))  # noqa: B023 - called at once
