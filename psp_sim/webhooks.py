"""Sends signed events to merchants, at least once, in no promised order, and as wrong as it was told to.

An event leaves only after its log line is on the disk. What has no end when the process stops is sent
again by the next one, under the same event id. A fault that spoils one attempt is diced for each attempt,
so a retry may be a good one; a dropped event is dropped for ever.
"""

import asyncio
import hashlib
import hmac
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import aiohttp

from psp_sim.behaviour import Control
from psp_sim.rules import EVENT_TYPES, Entry
from psp_sim.settings import Settings
from psp_sim.store import Store

SIGNATURE_HEADER = "titan-psp-signature"
MAX_SENDING_EVENTS = 8
"""As many connections are kept: a handshake with the edge costs both sides more than an order."""
MAX_WAITING_EVENTS = 10_000
SHUFFLE_SECONDS = 0.3

log = logging.getLogger(__name__)


def sign(body: bytes, *, at_seconds: int, secrets: Sequence[bytes]) -> str:
    """Return the signature header: the time, and one HMAC-SHA256 over time and body for each secret."""
    message = b"%d." % at_seconds + body
    marks = [hmac.new(secret, message, hashlib.sha256).hexdigest() for secret in secrets]
    return ",".join([f"t={at_seconds}", *(f"v1={mark}" for mark in marks)])


@dataclass(frozen=True)
class Event:
    """One event of one payment, on its way to a merchant."""

    entry: Entry
    sequence: int
    url: str

    def body(self, *, extra_minor: int = 0) -> bytes:
        """Return the JSON that the merchant reads; ``extra_minor`` makes its amount a lie."""
        entry = self.entry
        return json.dumps(
            {
                "event_id": entry.event_id,
                "type": EVENT_TYPES[entry.kind],
                "payment_id": entry.payment_id,
                "provider_reference": entry.provider_reference,
                "operation_id": entry.operation_id,
                "amount_minor": entry.amount_minor + extra_minor,
                "currency": entry.currency,
                "sequence": self.sequence,
                "occurred_at": entry.time.isoformat(),
                "decline_code": entry.decline_code,
            }
        ).encode()


class Webhooks:
    """The deliveries under way: at most ``MAX_WAITING_EVENTS`` wait, ``MAX_SENDING_EVENTS`` are being sent."""

    def __init__(self, store: Store, settings: Settings, control: Control, client: aiohttp.ClientSession) -> None:
        self._store = store
        self._settings = settings
        self._control = control
        self._client = client
        self._sending = asyncio.Semaphore(MAX_SENDING_EVENTS)
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Take up what an earlier process left, and follow the store from now on."""
        for entry, sequence in self._store.list_undelivered():
            self._announce(entry, sequence)
        self._store.listeners.append(lambda entry, payment: self._announce(entry, payment.events))

    async def close(self) -> None:
        """Break off what is being sent or waits; the next process takes it up."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _announce(self, entry: Entry, sequence: int) -> None:
        if entry.event_id is None:
            return
        payment = self._store.find_payment(entry.payment_id)
        url = (payment.webhook_url if payment else None) or self._settings.webhook_url
        if url is None:
            self._store.undelivered.pop(entry.event_id, None)
            return
        if len(self._tasks) >= MAX_WAITING_EVENTS:
            log.warning("too many webhooks wait, event %s is given up", entry.event_id)
            self._store.record_delivery(entry, "given_up")
            return
        task = asyncio.create_task(self._deliver(Event(entry, sequence, url)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, event: Event) -> None:
        faults = self._control.behaviour.webhooks
        await self._store.durable()
        if self._control.strikes(faults.drop):
            self._store.record_delivery(event.entry, "dropped")
            return
        wait_seconds = faults.delay_seconds
        if self._control.strikes(faults.shuffle):
            wait_seconds += self._control.within(SHUFFLE_SECONDS)
        await asyncio.sleep(wait_seconds)
        backoff_seconds = self._settings.webhook_backoff_seconds
        for attempt in range(self._settings.webhook_attempts):
            if attempt > 0:
                await asyncio.sleep(backoff_seconds)
                backoff_seconds = min(2 * backoff_seconds, self._settings.webhook_backoff_cap_seconds)
            if await self._attempt(event):
                if self._control.strikes(faults.duplicate):
                    await self._attempt(event)
                self._store.record_delivery(event.entry, "delivered")
                return
        self._store.record_delivery(event.entry, "given_up")

    async def _attempt(self, event: Event) -> bool:
        faults = self._control.behaviour.webhooks
        body = event.body(extra_minor=1 if self._control.strikes(faults.wrong_amount) else 0)
        secrets = self._settings.webhook_secrets
        if self._control.strikes(faults.bad_signature):
            secrets = (b"not the secret",)
        at_seconds = int(self._store.now().timestamp())
        headers = {
            "content-type": "application/json",
            SIGNATURE_HEADER: sign(body, at_seconds=at_seconds, secrets=secrets),
        }
        async with self._sending:
            try:
                async with self._client.post(event.url, data=body, headers=headers, allow_redirects=False) as reply:
                    return 200 <= reply.status < 300
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
                return False
