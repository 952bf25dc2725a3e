"""The adapter to the payment provider simulator, written as one would for a real provider.

It maps replies and refuses any that does not speak of exactly what was asked. At most ``max_running``
calls run at once and ``max_waiting`` wait, so a slow provider holds up its own payments and nobody else's.
"""

import asyncio
import contextlib
import ipaddress
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlencode, urlsplit

import aiohttp

from svc_payment.providers import signatures
from svc_payment.providers.interface import (
    Action,
    Authorization,
    AuthorizationRequest,
    Logged,
    LoggedKind,
    Movement,
    Notice,
    NoticeInvalid,
    NoticeKind,
    Outcome,
    ProviderMismatch,
    ProviderPayment,
    ProviderRefused,
    ProviderUnavailable,
)

NAME = "psp_sim"
TIMEOUT_SECONDS = 10.0
MAX_REPLY_BYTES = 65_536
KEPT_SECONDS = 4.0
"""How long an idle connection is kept: less than servers commonly do, or a call meets one that is being closed."""

_OUTCOMES: Mapping[str, Outcome] = {
    "authorized": Outcome.AUTHORIZED,
    "captured": Outcome.AUTHORIZED,
    "declined": Outcome.REFUSED,
    "voided": Outcome.REFUSED,
    "processing": Outcome.IN_PROGRESS,
    "requires_action": Outcome.ACTION_REQUIRED,
}
_KINDS: Mapping[str, NoticeKind] = {f"payment.{kind}": kind for kind in NoticeKind if kind is not NoticeKind.OTHER}
# These may be answered before or after the work; every other 4xx is a definite no.
_UNKNOWN_OUTCOME = frozenset({408, 425, 429})
_OUR_FAULT = frozenset({401, 403})
# What is stored or shown is held against these: no control characters, and no more than a row should hold.
_PRINTABLE = re.compile(r"[ -~]{1,2000}")
_WORD = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class PspSim:
    """The simulator as a ``Provider``."""

    name = NAME

    def __init__(
        self,
        url: str,
        *,
        api_key: str,
        webhook_secrets: Callable[[], Sequence[bytes]],
        max_running: int = 32,
        max_waiting: int = 256,
    ) -> None:
        """Prepare the adapter; it connects with its first call.

        Args:
            url: Where the provider is, as ``http://host:port``; a path there comes before the provider's own.
            api_key: The merchant's key.
            webhook_secrets: Returns the secrets that are valid now; asked for each notice.
            max_running: Calls at once, each with a connection.
            max_waiting: Calls that wait for their turn; more are turned away unsent.
        """
        self._webhook_secrets = webhook_secrets
        self._turns = asyncio.Semaphore(max_running)
        self._calls = 0
        self._max_calls = max_running + max_waiting
        self._url, self._api_key, self._max_running = url.rstrip("/"), api_key, max_running
        self._session: aiohttp.ClientSession | None = None

    async def authorize(
        self, asked: AuthorizationRequest, *, timeout_seconds: float = TIMEOUT_SECONDS
    ) -> Authorization:
        """Ask for an amount to be held on a card."""
        content = {
            "payment_id": asked.payment_id,
            "amount_minor": asked.amount_minor,
            "currency": asked.currency,
            "token": asked.token,
            "return_url": asked.return_url,
            "webhook_url": asked.webhook_url,
        }
        payment = await self._ask("POST", "/v1/payments", asked.payment_id, content, timeout_seconds)
        if not payment.is_of(asked.amount_minor, asked.currency):
            raise ProviderMismatch(f"payment {asked.payment_id}: another amount was authorized")
        return payment.authorization

    async def capture(
        self,
        payment_id: str,
        *,
        capture_id: str,
        amount_minor: int,
        currency: str,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> Movement:
        """Take a held amount, once per capture id."""
        content = {"capture_id": capture_id, "amount_minor": amount_minor}
        path = f"/v1/payments/{payment_id}/capture"
        wanted = (capture_id, amount_minor, currency)
        return await self._move(path, payment_id, content, wanted, timeout_seconds)

    async def refund(
        self,
        payment_id: str,
        *,
        refund_id: str,
        amount_minor: int,
        currency: str,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> Movement:
        """Give back a captured amount, once per refund id."""
        content = {"refund_id": refund_id, "amount_minor": amount_minor}
        path = f"/v1/payments/{payment_id}/refund"
        wanted = (refund_id, amount_minor, currency)
        return await self._move(path, payment_id, content, wanted, timeout_seconds)

    async def void(self, payment_id: str, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        """Let go of what is held; a payment that the provider never saw is voided too."""
        payment = await self._ask("POST", f"/v1/payments/{payment_id}/void", payment_id, {}, timeout_seconds)
        if payment.authorization.outcome is not Outcome.REFUSED:
            raise ProviderMismatch(f"payment {payment_id}: a void left it {payment.authorization.outcome}")

    async def query(self, payment_id: str, *, timeout_seconds: float = TIMEOUT_SECONDS) -> ProviderPayment | None:
        """Return the payment as the provider has it, or None when it has none of this id."""
        try:
            return await self._ask("GET", f"/v1/payments/{payment_id}", payment_id, None, timeout_seconds)
        except ProviderRefused as refusal:
            if refusal.code == "payment_not_found":
                return None
            raise

    async def list_log(
        self, *, begins_at: datetime, ends_at: datetime, timeout_seconds: float = TIMEOUT_SECONDS
    ) -> list[Logged]:
        """Return every capture and refund of a time; the timeout is of each page of its log."""
        span = {"from": begins_at.isoformat(), "until": ends_at.isoformat()}
        return await self._log(span, timeout_seconds)

    async def list_log_of(self, payment_id: str, *, timeout_seconds: float = TIMEOUT_SECONDS) -> list[Logged]:
        """Return every capture and refund of one payment."""
        return await self._log({"payment_id": payment_id}, timeout_seconds)

    def read_notice(self, body: bytes, signature: str, *, at: datetime) -> Notice:
        """Verify a webhook and read it.

        Raises:
            SignatureInvalid: It is not signed with a secret of ours, or at another time.
            NoticeInvalid: It cannot be read.
        """
        signatures.verify(body, signature, secrets=self._webhook_secrets(), at=at)
        try:
            return _notice(json.loads(body))
        except (KeyError, TypeError, ValueError, RecursionError) as problem:
            raise NoticeInvalid("the notice cannot be read") from problem

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def _log(self, wanted: Mapping[str, str], timeout_seconds: float) -> list[Logged]:
        found: list[Logged] = []
        after = 0
        while True:
            query = urlencode({**wanted, "after": after})
            reply = await self._call("GET", f"/v1/movements?{query}", None, timeout_seconds)
            try:
                found += [_logged(each) for each in reply["movements"]]
                following = reply["next"]
                if following is None:
                    return found
                if _integer(following) <= after:
                    raise ValueError("a page that does not go on")
            except (KeyError, TypeError, ValueError) as problem:
                raise ProviderUnavailable("the log cannot be read", sent=True) from problem
            after = following

    async def _move(
        self,
        path: str,
        payment_id: str,
        content: Mapping[str, Any],
        wanted: tuple[str, int, str],
        timeout_seconds: float,
    ) -> Movement:
        reply = await self._call("POST", path, content, timeout_seconds)
        try:
            operation = reply["operation"]
            movement = Movement(
                movement_id=_string(operation["id"]),
                amount_minor=_integer(operation["amount_minor"]),
                currency=_string(reply["currency"]),
                provider_reference=_string(reply["provider_reference"]),
            )
            answered = _string(reply["payment_id"])
        except (KeyError, TypeError) as problem:
            raise ProviderUnavailable("the reply cannot be read", sent=True) from problem
        done = (movement.movement_id, movement.amount_minor, movement.currency)
        if (answered, *done) != (payment_id, *wanted):
            raise ProviderMismatch(f"payment {payment_id}: asked to move {wanted}, the provider moved {done}")
        return movement

    async def _ask(
        self, method: str, path: str, payment_id: str, content: Mapping[str, Any] | None, timeout_seconds: float
    ) -> ProviderPayment:
        reply = await self._call(method, path, content, timeout_seconds)
        try:
            payment = _payment(reply)
        except (KeyError, TypeError, ValueError) as problem:
            raise ProviderUnavailable("the reply cannot be read", sent=True) from problem
        if payment.payment_id != payment_id:
            raise ProviderMismatch(f"payment {payment_id}: the provider answered about another one")
        return payment

    async def _call(
        self, method: str, path: str, content: Mapping[str, Any] | None, timeout_seconds: float
    ) -> dict[str, Any]:
        """Make one call and return the JSON object of its success."""
        sent = False
        try:
            async with asyncio.timeout(timeout_seconds), self._turn():
                sent = True
                # A provider that sends us elsewhere, with the card token and the key in hand, is not followed.
                async with self._http.request(method, self._url + path, json=content, allow_redirects=False) as reply:
                    return _success(reply.status, await _bounded(reply.content))
        except TimeoutError as problem:
            raise ProviderUnavailable("no answer in time", sent=sent) from problem
        except aiohttp.ClientConnectorError as problem:
            raise ProviderUnavailable("no connection", sent=False) from problem
        except (aiohttp.ClientError, OSError) as problem:
            raise ProviderUnavailable("the connection broke", sent=True) from problem

    @property
    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                headers={"authorization": f"Bearer {self._api_key}", "accept-encoding": "identity"},
                connector=aiohttp.TCPConnector(limit=self._max_running, keepalive_timeout=KEPT_SECONDS),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),  # every call has its own deadline
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
            )
        return self._session

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        if self._calls >= self._max_calls:
            raise ProviderUnavailable("too many calls wait", sent=False)
        self._calls += 1
        try:
            async with self._turns:
                yield
        finally:
            self._calls -= 1


async def _bounded(stream: aiohttp.StreamReader) -> bytes:
    """Return what is read, or nothing of a reply that is too long to be one."""
    body = b""
    async for part in stream.iter_any():
        body += part
        if len(body) > MAX_REPLY_BYTES:
            return b""
    return body


def _success(status: int, body: bytes) -> dict[str, Any]:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        content = None
    if status in _OUR_FAULT:
        raise ProviderUnavailable("the provider does not accept our key", sent=False)
    if 200 <= status < 300 and isinstance(content, dict):
        return content
    if 400 <= status < 500 and status not in _UNKNOWN_OUTCOME:
        try:
            # Only a code is taken over: the words may repeat what was sent, the card token too.
            code = _word((content or {})["error"]["code"])
        except (KeyError, TypeError):
            # Not the provider's own no but, say, a gateway's: an earlier try may hold the money all the same.
            raise ProviderUnavailable(f"the provider answered {status}", sent=True) from None
        raise ProviderRefused(code, "the provider refused")
    raise ProviderUnavailable(f"the provider answered {status}", sent=True)


def _payment(reply: Mapping[str, Any]) -> ProviderPayment:
    status = reply["status"]
    action = reply["action"]
    is_voided = status == "voided"
    return ProviderPayment(
        payment_id=_string(reply["payment_id"]),
        authorization=Authorization(
            outcome=_OUTCOMES[status],
            provider_reference=_optional(reply["provider_reference"]),
            refusal_code="voided" if is_voided else _optional(reply["decline_code"], _word),
            action=action and Action(_page(action["url"]), _moment(action["expires_at"])),
        ),
        is_voided=is_voided,
        amount_minor=_integer(reply["amount_minor"]),
        currency=_optional(reply["currency"]),
        captured_minor=_integer(reply["captured_minor"]),
        refunded_minor=_integer(reply["refunded_minor"]),
    )


def _logged(content: Mapping[str, Any]) -> Logged:
    return Logged(
        kind=LoggedKind(content["kind"]),
        payment_id=_string(content["payment_id"]),
        movement_id=_string(content["operation_id"]),
        amount_minor=_integer(content["amount_minor"]),
        currency=_string(content["currency"]),
        at=_moment(content["time"]),
    )


def _notice(content: Mapping[str, Any]) -> Notice:
    return Notice(
        notice_id=_string(content["event_id"]),
        kind=_KINDS.get(_string(content["type"]), NoticeKind.OTHER),
        payment_id=_string(content["payment_id"]),
        provider_reference=_optional(content["provider_reference"]),
        movement_id=_optional(content["operation_id"]),
        amount_minor=_integer(content["amount_minor"]),
        currency=_optional(content["currency"]),
        sequence=_integer(content["sequence"]),
        occurred_at=_moment(content["occurred_at"]),
        refusal_code=_optional(content["decline_code"], _word),
    )


def _integer(value: Any) -> int:
    if type(value) is not int:
        raise TypeError("an integer is wanted")
    return value


def _string(value: Any) -> str:
    if not isinstance(value, str) or not _PRINTABLE.fullmatch(value):
        raise TypeError("a printable string is wanted")
    return value


def _page(value: Any) -> str:
    """Return the address of a page that a browser may be sent to: over HTTPS, or on this very machine, where the
    simulator runs. A script would run in the shop's own page."""
    text = _string(value)
    parts = urlsplit(text)
    if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and _is_here(parts.hostname))):
        raise ValueError("a page over HTTPS is wanted")
    return text


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _word(value: Any) -> str:
    if not isinstance(value, str) or not _WORD.fullmatch(value):
        raise TypeError("a code is wanted")
    return value


def _optional(value: Any, read: Callable[[Any], str] = _string) -> str | None:
    return None if value is None else read(value)


def _moment(value: Any) -> datetime:
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError("a time zone is wanted")
    return moment
