"""Notices of a provider: what it did not sign is not read, and what it did sign is asked for again at the provider."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from psp_sim.webhooks import sign
from tests.attacks.case import Reply, add, case
from tests.attacks.scene import PRICE_MINOR, Scene

HOOK = "/v1/webhooks/psp_sim"
UNSIGNED = "401 WEBHOOK_SIGNATURE_INVALID"
INVALID = "400 WEBHOOK_INVALID"


def notice(scene: Scene, **more: Any) -> bytes:
    """Return a notice about the owner's payment, as the provider writes them."""
    said = {
        "event_id": f"evt_{uuid4().hex}",
        "type": "payment.captured",
        "payment_id": scene.victims.payment_id,
        "provider_reference": "ref",
        "operation_id": "op",
        "amount_minor": PRICE_MINOR,
        "currency": "GBP",
        "sequence": 9,
        "occurred_at": "2026-01-01T00:00:00+00:00",
        "decline_code": None,
        **more,
    }
    return json.dumps(said).encode()


def signed(scene: Scene, body: bytes, *, at: float | None = None) -> str:
    """Return the signature that the provider would give."""
    secret = (scene.home.secrets / "psp_webhook_secret").read_text().strip().encode()
    return sign(body, at_seconds=int(at if at is not None else time.time()), secrets=[secret])


async def tell(scene: Scene, body: bytes, signature: str | None, path: str = HOOK) -> Reply:
    """Send a notice."""
    headers = {"titan-psp-signature": signature} if signature is not None else {}
    return await scene.send("POST", path, content=body, headers=headers)


BAD_SIGNATURES: dict[str, Callable[[Scene, bytes], str | None]] = {
    "no signature": lambda scene, body: None,
    "an empty signature": lambda scene, body: "",
    "a signature of zeros": lambda scene, body: f"t={int(time.time())},v1={'0' * 64}",
    "a signature of another secret": lambda scene, body: sign(body, at_seconds=int(time.time()), secrets=[b"guess"]),
    "a signature of an empty secret": lambda scene, body: sign(body, at_seconds=int(time.time()), secrets=[b""]),
    "a signature of another body": lambda scene, body: signed(scene, body + b" "),
    "a signature of an hour ago": lambda scene, body: signed(scene, body, at=time.time() - 3600),
    "a signature of the future": lambda scene, body: signed(scene, body, at=time.time() + 3600),
    "a signature with two times": lambda scene, body: f"t=1,{signed(scene, body)}",
    "a signature in capitals": lambda scene, body: signed(scene, body).upper(),
    "a signature without its time": lambda scene, body: signed(scene, body).partition(",")[2],
    "a thousand signatures": lambda scene, body: f"t={int(time.time())}" + ",v1=0" * 1_000,
}


def _bad(what: str) -> None:
    async def attack(scene: Scene) -> Reply:
        body = notice(scene)
        return await tell(scene, body, BAD_SIGNATURES[what](scene, body))

    add("webhooks", what, "400 INVALID_INPUT" if what == "a thousand signatures" else UNSIGNED, attack, still=True)


for _what in BAD_SIGNATURES:
    _bad(_what)

BAD_NOTICES: dict[str, bytes] = {
    "a signed text that is no JSON": b"<xml/>",
    "a signed list": b"[]",
    "a signed notice of nothing": b"{}",
    "a signed notice that is empty": b"",
}


def _bad_notice(what: str) -> None:
    async def attack(scene: Scene) -> Reply:
        return await tell(scene, BAD_NOTICES[what], signed(scene, BAD_NOTICES[what]))

    add("webhooks", what, INVALID, attack, still=True)


for _what in BAD_NOTICES:
    _bad_notice(_what)


@case("a signed notice about a payment that is no id", INVALID)
async def no_id(scene: Scene) -> Reply:
    body = notice(scene, payment_id="' OR 1=1 --")
    return await tell(scene, body, signed(scene, body))


@case("a provider that there is not", "404 PROVIDER_UNKNOWN")
async def no_provider(scene: Scene) -> Reply:
    body = notice(scene)
    return await tell(scene, body, signed(scene, body), "/v1/webhooks/stripe")


@case("a signed notice that lies about the amount moves no money", "200")
async def lying(scene: Scene) -> Reply:
    body = notice(scene, amount_minor=1)
    return await tell(scene, body, signed(scene, body))


@case("a signed notice of a refund that never was moves no money", "200")
async def lying_refund(scene: Scene) -> Reply:
    body = notice(scene, type="payment.refunded", amount_minor=PRICE_MINOR)
    return await tell(scene, body, signed(scene, body))


@case("a signed notice of a decline after the capture changes nothing", "200")
async def late_decline(scene: Scene) -> Reply:
    body = notice(scene, type="payment.failed")
    return await tell(scene, body, signed(scene, body))


@case("a signed notice about nobody's payment", "200")
async def nobodys(scene: Scene) -> Reply:
    body = notice(scene, payment_id=str(uuid4()))
    return await tell(scene, body, signed(scene, body))


@case("a signed notice, stolen and sent again", "200")
async def replayed(scene: Scene) -> Reply:
    body = notice(scene)
    signature = signed(scene, body)
    await tell(scene, body, signature)
    await scene.ready()
    return await tell(scene, body, signature)


@case("a return from the provider that nobody was sent to", "404 PAYMENT_NOT_FOUND")
async def made_up_return(scene: Scene) -> Reply:
    return await scene.send("GET", f"/v1/payments/{uuid4()}:return?status=succeeded")


@case("a return that claims success for a payment that is done", "200")
async def claimed_return(scene: Scene) -> Reply:
    return await scene.send("GET", f"/v1/payments/{scene.victims.payment_id}:return")
