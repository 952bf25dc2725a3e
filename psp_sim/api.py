"""The HTTP calls: decode, decide, record, wait for the disk, encode. Faults strike between these steps."""

import asyncio
import hmac
import ipaddress
import uuid
from collections.abc import Awaitable, Callable
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from psp_sim import rules, wire
from psp_sim.behaviour import Control
from psp_sim.connection import cut
from psp_sim.rules import Entry, OnCapture
from psp_sim.settings import Settings
from psp_sim.store import Store

Endpoint = Callable[[Request], Awaitable[Response]]


class Api:
    """The merchant's calls, the customer's page and the control of faults."""

    def __init__(self, store: Store, settings: Settings, control: Control) -> None:
        self._store = store
        self._control = control
        self._key = settings.api_key.encode()
        self._public_url = (settings.public_url or f"http://{settings.host}:{settings.port}").rstrip("/")

    def routes(self) -> list[Route]:
        """Return every route of the simulator, each behind the guard that fits who may ask."""
        payment, action = "/v1/payments/{payment_id}", "/v1/actions/{payment_id}"
        return [
            Route("/v1/payments", self._merchant(self.authorize), methods=["POST"]),
            Route(payment, self._merchant(self.get_payment), methods=["GET"]),
            Route("/v1/movements", self._merchant(self.list_movements), methods=["GET"]),
            Route(payment + "/capture", self._merchant(self.capture), methods=["POST"]),
            Route(payment + "/refund", self._merchant(self.refund), methods=["POST"]),
            Route(payment + "/void", self._merchant(self.void), methods=["POST"]),
            Route(action + ":confirm", self._guarded(self.confirm_action), methods=["POST"]),
            Route(action + ":fail", self._guarded(self.fail_action), methods=["POST"]),
            Route(action + ":confirm", self._guarded(self.show_action), methods=["GET"]),
            Route(action + ":fail", self._guarded(self.show_action), methods=["GET"]),
            Route(action, self._guarded(self.show_action), methods=["GET"]),
            Route("/control", self._local(self.show_control), methods=["GET"]),
            Route("/control", self._local(self.change_control), methods=["POST"]),
            Route("/control", self._local(self.reset_control), methods=["DELETE"]),
            Route("/healthz", self.show_health, methods=["GET"]),
        ]

    async def authorize(self, request: Request) -> Response:
        """Decide on a payment as its token wants, or repeat what was decided."""
        asked = wire.take_authorize(await wire.read_object(request))
        if asked.scenario.slow and self._store.find_payment(asked.payment_id) is None:
            await asyncio.sleep(self._control.behaviour.slow_seconds)
        entry = rules.authorize(
            self._store.find_payment(asked.payment_id),
            asked,
            reference=f"psp_{uuid.uuid4().hex}",
            at=self._store.now(),
            waits=self._control.behaviour.waits,
        )
        return await self._finish(request, entry, lose=asked.scenario.lose_reply)

    async def get_payment(self, request: Request) -> Response:
        """Return a payment as it stands on disk."""
        payment_id = wire.take_id(request.path_params["payment_id"], "payment_id")
        await self._store.durable()
        payment = self._store.find_payment(payment_id)
        if payment is None:
            return wire.to_error("payment_not_found", "no such payment")
        return wire.to_reply(payment, public_url=self._public_url)

    async def list_movements(self, request: Request) -> Response:
        """List captures and refunds as they are on disk: of some time, of one payment, a page at a time."""
        asked = wire.take_movements(request.query_params)
        await self._store.durable()
        found, following = self._store.list_movements(asked.wants, asked.after, wire.MOVEMENTS_PER_PAGE)
        return wire.to_movements(found, following)

    async def capture(self, request: Request) -> Response:
        """Take an amount of an authorized payment, or repeat the answer under the same capture id."""
        payment_id = wire.take_id(request.path_params["payment_id"], "payment_id")
        content = await wire.read_object(request)
        capture_id = wire.take_id(content.get("capture_id"), "capture_id")
        amount_minor = wire.take_amount_minor(content)
        known = self._store.find_payment(payment_id)
        manner = known.on_capture if known else OnCapture.ANSWER
        if manner is OnCapture.SLOW:
            await asyncio.sleep(self._control.behaviour.slow_seconds)
        payment = self._store.find_payment(payment_id)
        entry = rules.capture(payment, capture_id=capture_id, amount_minor=amount_minor, at=self._store.now())
        return await self._finish(
            request,
            entry,
            lose=manner is OnCapture.LOSE_REPLY,
            fail=manner is OnCapture.ERROR or self._control.strikes(self._control.behaviour.fail_after_capture),
        )

    async def refund(self, request: Request) -> Response:
        """Give back an amount of what was captured, or repeat the answer under the same refund id."""
        payment_id = wire.take_id(request.path_params["payment_id"], "payment_id")
        content = await wire.read_object(request)
        refund_id = wire.take_id(content.get("refund_id"), "refund_id")
        amount_minor = wire.take_amount_minor(content)
        payment = self._store.find_payment(payment_id)
        entry = rules.refund(payment, refund_id=refund_id, amount_minor=amount_minor, at=self._store.now())
        return await self._finish(request, entry)

    async def void(self, request: Request) -> Response:
        """Let go of an authorization; one that was never seen is voided before it comes."""
        payment_id = wire.take_id(request.path_params["payment_id"], "payment_id")
        await wire.read_object(request)
        payment = self._store.find_payment(payment_id)
        entry = rules.void(payment, payment_id=payment_id, at=self._store.now())
        return await self._finish(request, entry)

    async def show_action(self, request: Request) -> Response:
        """Show the page on which a customer confirms or refuses."""
        payment = self._store.find_payment(request.path_params["payment_id"])
        if payment is None or payment.due_at is None:
            return wire.to_error("payment_not_found", "no such payment")
        return wire.to_action_page(payment)

    async def confirm_action(self, request: Request) -> Response:
        """Take the customer's yes."""
        return await self._answer_action(request, confirmed=True)

    async def fail_action(self, request: Request) -> Response:
        """Take the customer's no."""
        return await self._answer_action(request, confirmed=False)

    async def show_control(self, request: Request) -> Response:
        """Return the behaviour of now."""
        return JSONResponse(self._control.to_json())

    async def change_control(self, request: Request) -> Response:
        """Change single values of the behaviour, and return it."""
        try:
            self._control.change(await wire.read_object(request))
        except ValueError as problem:
            raise wire.Malformed(str(problem)) from problem
        return await self.show_control(request)

    async def reset_control(self, request: Request) -> Response:
        """Return to the well-behaved defaults, and return them."""
        self._control.reset()
        return await self.show_control(request)

    async def show_health(self, request: Request) -> Response:
        """Say that the simulator runs, and how many payments it knows."""
        return JSONResponse({"status": "ok", "payments": self._store.count_payments()})

    async def _answer_action(self, request: Request, *, confirmed: bool) -> Response:
        payment = self._store.find_payment(request.path_params["payment_id"])
        entry = rules.answer_action(payment, confirmed=confirmed, at=self._store.now())
        payment = self._store.record(entry)
        await self._store.durable()
        if payment.return_url is not None and "text/html" in request.headers.get("accept", ""):
            joint = "&" if "?" in payment.return_url else "?"
            query = urlencode({"payment_id": payment.payment_id, "status": payment.status})
            return RedirectResponse(f"{payment.return_url}{joint}{query}", status_code=303)
        return JSONResponse(
            {"payment_id": payment.payment_id, "status": payment.status, "return_url": payment.return_url}
        )

    async def _finish(self, request: Request, entry: Entry, *, lose: bool = False, fail: bool = False) -> Response:
        """Record and answer; only a call that had an effect loses its answer, so a repetition gets one."""
        payment = self._store.record(entry)
        await self._store.durable()
        if entry.effect and fail:
            return wire.to_error_after_work()
        if entry.effect and (lose or self._control.strikes(self._control.behaviour.lose_replies)):
            return await cut(request)
        return wire.to_reply(payment, entry, public_url=self._public_url)

    def _merchant(self, endpoint: Endpoint) -> Endpoint:
        """Wrap a merchant's call: its key, the latency, and the fault of being unavailable."""

        async def call(request: Request) -> Response:
            scheme, _, key = request.headers.get("authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not hmac.compare_digest(key.encode(), self._key):
                return wire.to_error("unauthorized", "a valid API key is wanted")
            if self._control.strikes(self._control.behaviour.unavailable):
                return wire.to_error("unavailable", "try again")
            await asyncio.sleep(self._control.behaviour.latency_seconds)
            return await endpoint(request)

        return self._guarded(call)

    def _local(self, endpoint: Endpoint) -> Endpoint:
        """Wrap a call that only this machine may make."""

        async def call(request: Request) -> Response:
            if request.client is None or not ipaddress.ip_address(request.client.host).is_loopback:
                return wire.to_error("unauthorized", "only this machine may do that")
            return await endpoint(request)

        return self._guarded(call)

    def _guarded(self, endpoint: Endpoint) -> Endpoint:
        """Wrap a call so that refusals become answers; this is the only place where they do."""

        async def call(request: Request) -> Response:
            try:
                return await endpoint(request)
            except (rules.Refused, wire.Malformed) as refusal:
                return wire.to_error(refusal.code, str(refusal))

        return call
