"""What may be written down about an exception: enough to find the cause, never a row of the database.

Postgres repeats the offending row in the DETAIL of an error, and the offending value in the message of a data error;
asyncpg and SQLAlchemy, which migrations use, carry both on. Everything of Titan that writes an exception to a log, a
table or a message header takes its words from here.
"""

from __future__ import annotations

import re
import traceback

_DRIVERS = ("asyncpg.", "sqlalchemy.")
_VALUE = re.compile(r"[:\"'].*")


def text_of(error: BaseException) -> str:
    """Return the text of an exception; of a database error the first line, its SQLSTATE and its constraint alone."""
    if not type(error).__module__.startswith(_DRIVERS):
        return str(error)
    # Core wraps asyncpg's error twice, and repeats its text behind the name of its class.
    driver_error = next((each for each in _chain(error) if type(each).__module__.startswith("asyncpg.")), error)
    first_line = str(driver_error.args[0] if driver_error.args else "").partition("\n")[0]
    state = getattr(driver_error, "sqlstate", None) or ""
    if state.startswith("22") or not state:
        # The message of a data error, of the server or of the driver itself, quotes the value.
        first_line = _VALUE.sub("", first_line)
    constraint = getattr(driver_error, "constraint_name", None)
    details = [word for word in (state and f"SQLSTATE {state}", constraint and f"constraint {constraint}") if word]
    return first_line + (f" ({', '.join(details)})" if details else "")


def line_of(error: BaseException) -> str:
    """Return the class and the text of an exception on one line, at most 500 characters."""
    return f"{type(error).__name__}: {' '.join(text_of(error).split())}"[:500]


def traceback_of(error: BaseException) -> str:
    """Return the traceback of an exception and of all that led to it."""
    told = traceback.TracebackException.from_exception(error)
    pairs = [(told, error)]
    for shown, each in pairs:  # grows while it is walked
        if type(each).__module__.startswith(_DRIVERS):
            shown._str = text_of(each)  # type: ignore[attr-defined]
        inner = (shown.__cause__, shown.__context__, *(shown.exceptions or ()))
        causes = (each.__cause__, each.__context__, *(getattr(each, "exceptions", None) or ()))
        pairs += [(s, e) for s, e in zip(inner, causes, strict=True) if s is not None and e is not None]
    return "".join(told.format())


def _chain(error: BaseException) -> list[BaseException]:
    found = [error]
    while (cause := found[-1].__cause__) is not None and len(found) < 5:
        found.append(cause)
    return found
