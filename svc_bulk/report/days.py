"""The days of a period, as an operation names them."""

from __future__ import annotations

from datetime import date, timedelta

from mesh.refusals import InvalidInput

MAX_DAYS = 366


def settled_days(first: str, last: str) -> list[date]:
    """Return the days from the first to the last, both with them.

    Raises:
        InvalidInput: One is no day of any calendar, they are in no order, or more than `MAX_DAYS`.
    """
    begin, end = _day("job.provider_settlement.first_date", first), _day("job.provider_settlement.last_date", last)
    if not 0 <= (end - begin).days < MAX_DAYS:
        raise InvalidInput.of(
            "job.provider_settlement.last_date", f"must not be before the first day, nor {MAX_DAYS} days after it"
        )
    return [begin + timedelta(days=number) for number in range((end - begin).days + 1)]


def _day(field: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidInput.of(field, "is no day of any calendar") from None
