"""What requests and replies look like: decodes, checks and encodes, and decides nothing."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse

from psp_sim.rules import Authorize, Entry, Payment, Status

MAX_BODY_BYTES = 16_384
MAX_AMOUNT_MINOR = 10**12
MAX_URL_CHARACTERS = 2_000
MOVEMENTS_PER_PAGE = 200
_PLACE_DIGITS = 12

_ID = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_CURRENCY = re.compile(r"[A-Z]{3}")
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,200}")
_CARD_NUMBER = re.compile(r"[0-9 -]{12,}")
_URL = re.compile(r"https?://[^\s\"'<>\\]+")

STATUS_OF_REFUSAL = {
    "malformed": 400,
    "unauthorized": 401,
    "payment_not_found": 404,
    "too_large": 413,
    "unavailable": 503,
}


class Malformed(Exception):
    """The request cannot be read; the message names the field and never its value."""

    def __init__(self, message: str, *, code: str = "malformed") -> None:
        super().__init__(message)
        self.code = code


async def read_object(request: Request) -> dict[str, Any]:
    """Read a JSON object of at most ``MAX_BODY_BYTES``; an empty body is an empty object.

    Raises:
        Malformed: It is larger, or something else.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise Malformed("the body is too large", code="too_large")
    try:
        content = json.loads(body or b"{}")
    except (ValueError, RecursionError) as problem:
        raise Malformed("the body is not JSON") from problem
    if not isinstance(content, dict):
        raise Malformed("the body is not an object")
    return content


def take_id(value: Any, name: str) -> str:
    """Read an id.

    Raises:
        Malformed: It is missing, too long, or holds other characters than ids have.
    """
    return _text(value, name, _ID)


def take_amount_minor(content: dict[str, Any]) -> int:
    """Read the field ``amount_minor``.

    Raises:
        Malformed: It is no integer, or out of its range.
    """
    amount_minor = content.get("amount_minor")
    if type(amount_minor) is not int or not 0 < amount_minor <= MAX_AMOUNT_MINOR:
        raise Malformed(f"amount_minor: an integer from 1 to {MAX_AMOUNT_MINOR} is wanted")
    return amount_minor


def take_authorize(content: dict[str, Any]) -> Authorize:
    """Read what ``POST /v1/payments`` takes.

    Raises:
        Malformed: A field is missing or wrong, or the token looks like a card number.
    """
    token = content.get("token")
    if isinstance(token, str) and _CARD_NUMBER.fullmatch(token):
        raise Malformed("token: card numbers are not accepted here")
    return Authorize(
        payment_id=take_id(content.get("payment_id"), "payment_id"),
        amount_minor=take_amount_minor(content),
        currency=_text(content.get("currency"), "currency", _CURRENCY),
        token=_text(token, "token", _TOKEN),
        return_url=_url(content.get("return_url"), "return_url"),
        webhook_url=_url(content.get("webhook_url"), "webhook_url"),
    )


@dataclass(frozen=True)
class MovementsAsked:
    """Which movements a merchant wants; ``after`` is how many of the log to pass over."""

    begins_at: datetime
    ends_at: datetime
    payment_id: str | None
    after: int

    def wants(self, entry: Entry) -> bool:
        """Say whether a movement is one of them; the end is not in it."""
        return self.begins_at <= entry.time < self.ends_at and self.payment_id in (None, entry.payment_id)


def take_movements(query: Mapping[str, str]) -> MovementsAsked:
    """Read what ``GET /v1/movements`` takes.

    Raises:
        Malformed: A time, an id or a place cannot be read.
    """
    after = query.get("after", "0")
    if not after.isdecimal() or len(after) > _PLACE_DIGITS:
        raise Malformed("after: the place of an earlier answer is wanted")
    return MovementsAsked(
        begins_at=_moment(query.get("from"), "from", datetime.min.replace(tzinfo=UTC)),
        ends_at=_moment(query.get("until"), "until", datetime.max.replace(tzinfo=UTC)),
        payment_id=take_id(query["payment_id"], "payment_id") if "payment_id" in query else None,
        after=int(after),
    )


def to_movements(entries: Sequence[Entry], following: int | None) -> JSONResponse:
    """Encode a page of movements, and the place where the next one begins."""
    movements = [
        {
            "kind": each.kind,
            "payment_id": each.payment_id,
            "operation_id": each.operation_id,
            "amount_minor": each.amount_minor,
            "currency": each.currency,
            "time": each.time.isoformat(),
        }
        for each in entries
    ]
    return JSONResponse({"movements": movements, "next": following})


def _moment(text: str | None, name: str, otherwise: datetime) -> datetime:
    try:
        moment = datetime.fromisoformat(text) if text is not None else otherwise
    except ValueError:
        raise Malformed(f"{name}: a time such as 2026-11-21T00:00:00+00:00 is wanted") from None
    if moment.tzinfo is None:
        raise Malformed(f"{name}: a time zone is wanted")
    return moment


def to_reply(payment: Payment, entry: Entry | None = None, *, public_url: str) -> JSONResponse:
    """Encode the payment as it stands, and the movement that was asked for, if one was."""
    action = None
    if payment.status is Status.REQUIRES_ACTION and payment.due_at is not None:
        url = f"{public_url}/v1/actions/{payment.payment_id}"
        action = {"url": url, "expires_at": payment.due_at.isoformat()}
    operation = None
    if entry is not None and entry.operation_id is not None:
        operation = {"id": entry.operation_id, "amount_minor": entry.amount_minor}
    return JSONResponse(
        {
            "payment_id": payment.payment_id,
            "provider_reference": payment.provider_reference,
            "status": payment.status,
            "amount_minor": payment.amount_minor,
            "currency": payment.currency,
            "captured_minor": payment.captured_minor,
            "refunded_minor": payment.refunded_minor,
            "decline_code": payment.decline_code,
            "action": action,
            "operation": operation,
        }
    )


def to_error(code: str, message: str) -> JSONResponse:
    """Encode a refusal; one that has no status of its own is a conflict."""
    return JSONResponse({"error": {"code": code, "message": message}}, STATUS_OF_REFUSAL.get(code, 409))


def to_error_after_work() -> JSONResponse:
    """Encode a server error that says nothing about what was done."""
    return JSONResponse({"error": {"code": "internal", "message": "something went wrong"}}, 500)


def to_action_page(payment: Payment) -> HTMLResponse:
    """Render the page on which a customer confirms or refuses."""
    path = f"/v1/actions/{escape(payment.payment_id)}"
    money = f"{payment.amount_minor / 100:,.2f} {escape(payment.currency or '')}"
    if payment.status is Status.REQUIRES_ACTION:
        choice = (
            f'<form method="post" action="{path}:confirm"><button>Confirm</button></form>'
            f'<form method="post" action="{path}:fail"><button>Refuse</button></form>'
        )
    else:
        choice = f"<p>This payment is {payment.status}.</p>"
    return HTMLResponse(
        '<!doctype html><html lang="en"><title>Confirm your payment</title>'
        f"<h1>Confirm your payment</h1><p>{money}</p>{choice}</html>",
        headers={"content-security-policy": "default-src 'none'; frame-ancestors 'none'", "cache-control": "no-store"},
    )


def _text(value: Any, name: str, pattern: re.Pattern[str]) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise Malformed(f"{name}: a string matching {pattern.pattern} is wanted")
    return value


def _url(value: Any, name: str) -> str | None:
    if value is None:
        return None
    if len(value if isinstance(value, str) else "") > MAX_URL_CHARACTERS:
        raise Malformed(f"{name}: at most {MAX_URL_CHARACTERS} characters are taken")
    return _text(value, name, _URL)
