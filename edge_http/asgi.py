"""The ASGI application: one exchange at a time, from the first header to the line in the log.

The one place where an exception becomes an answer. It traces, counts and logs every exchange, keeps the number of
running ones within a bound, and lets a call end when its client has left.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanKind, Tracer
from prometheus_client import Counter, Histogram

from edge_http.answer import Answer, Receive, Scope, Send, refused
from edge_http.binding import Headers
from edge_http.endpoint import Endpoint
from edge_http.errors import BodyNotJson, BodyTooLarge, WrongMethod
from edge_http.events import HEARTBEAT_SECONDS, EventStream
from edge_http.recent import Recent
from edge_http.rendered import Rendered
from edge_http.router import Router
from mesh import telemetry
from mesh.clients import Clients
from mesh.contract import AccessKind, Contract
from mesh.interceptors.admission import overloaded
from mesh.refusals import DeadlineExceeded, InternalError, Refusal, RouteNotFound, Unavailable
from mesh.topology import MAX_BODY_BYTES

MAX_DISCARDED_BYTES = 16 * MAX_BODY_BYTES
"""Of a body that is too large this much is read away, for a client that hears nothing while it sends."""

BODY_SECONDS = 15.0
WATCH_AFTER_SECONDS = 0.05
"""A call that is answered sooner is not worth a watcher for its client's leaving."""

CLIENT_GONE = 499

REQUESTS = Counter(
    "titan_http_requests", "HTTP exchanges that ended.", ["route", "status"], registry=telemetry.REGISTRY
)
REQUEST_SECONDS = Histogram(
    "titan_http_request_seconds",
    "How long HTTP exchanges took.",
    ["route"],
    registry=telemetry.REGISTRY,
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)

NO_ROUTE = "none"
Page = Callable[[Headers], Awaitable[Answer]]

log = telemetry.get_logger("edge_http")


class _ClientGone(Exception):
    """The client left before its answer was there."""


class Edge:
    """The application. `pages` are what it answers by itself, by path: health, the description, the docs."""

    def __init__(
        self,
        contract: Contract,
        clients: Clients,
        *,
        pages: Mapping[str, Page] | None = None,
        quiet: frozenset[str] = frozenset(),
        max_running_calls: int = 512,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
        tracer: Tracer | None = None,
    ) -> None:
        """Build the table of routes; what only services may call is left out, whatever its annotations say."""
        rendered = Rendered()
        recent = defaultdict[str, Recent](Recent)  # by package: a change to goods says nothing of sign-in's pages
        self.endpoints = [
            Endpoint(route, clients, rendered, recent[route.method.descriptor.containing_service.file.package])
            for route in contract.routes()
            if route.method.access is not None and route.method.access.kind is not AccessKind.SERVICE
        ]
        self._grpc_paths = frozenset(endpoint.method.path for endpoint in self.endpoints)
        self._router = Router((e.route.rule.verb, e.route.rule.template, e) for e in self.endpoints)
        self._pages = dict(pages or {})
        self._quiet = quiet
        self._max_running = max_running_calls
        self._heartbeat = heartbeat_seconds
        self._tracer = tracer or trace.get_tracer("edge_http")
        self.running = 0
        self.open_streams = 0
        self.stopping = asyncio.Event()

    def add_page(self, path: str, page: Page) -> None:
        """Answer a path by `page`."""
        self._pages[path] = page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one exchange."""
        if scope["type"] != "http":
            return
        exchange = _Exchange(scope, receive, send)
        try:
            answer = await self._answer(exchange)
        except _ClientGone:
            exchange.describe(CLIENT_GONE, "CANCELLED")
            return
        except asyncio.CancelledError:
            exchange.describe(CLIENT_GONE, "CANCELLED")
            raise
        except Refusal as refusal:
            answer = refused(refusal)
        except Exception as error:
            log.exception("unexpected exception", error, route=exchange.route, trace_id=exchange.trace_id)
            answer = refused(InternalError("unexpected"))
        if answer is not None:
            await answer.send(send, exchange.trace_id)
            exchange.describe(answer.status, answer.reason, len(answer.body), quiet=exchange.path in self._quiet)

    async def _answer(self, exchange: _Exchange) -> Answer | None:
        """Return the answer, or None where a stream has sent it already."""
        await exchange.refuse_large_body()
        page = self._pages.get(exchange.path)
        if page is not None:
            exchange.route = exchange.path
            if exchange.method not in ("GET", "HEAD"):
                raise WrongMethod(f"{exchange.path} answers GET", allowed="GET, HEAD")
            return await page(exchange.headers)
        endpoint, captured = self._find(exchange)
        exchange.enter(endpoint, self._tracer)
        if endpoint.streams:
            if self.open_streams >= self._max_running:
                raise overloaded()
        elif self.running >= self._max_running:
            raise overloaded()
        if endpoint.streams:
            self.open_streams += 1
            try:
                return await self._stream(endpoint, captured, exchange)
            finally:
                self.open_streams -= 1
        self.running += 1
        try:
            body = await exchange.read_body()
            asked = exchange.path, exchange.query
            recent = None if body else endpoint.recent(asked, exchange.headers)
            if recent is not None:
                return recent
            request = endpoint.bind(captured, exchange.query, exchange.headers, body)
            return await exchange.unless_gone(endpoint.answer(asked, request, exchange.headers))
        finally:
            self.running -= 1

    def _find(self, exchange: _Exchange) -> tuple[Endpoint, tuple[tuple[str, str], ...]]:
        method = exchange.method
        found = self._router.find("GET" if method == "HEAD" else method, exchange.path)
        if isinstance(found, frozenset):
            if not found and exchange.path in self._grpc_paths and method == "POST":
                raise BodyNotJson("this path speaks gRPC: content-type application/grpc; /docs has the routes of HTTP")
            if not found:
                raise RouteNotFound("there is no such route")
            allowed = ", ".join(sorted(found | {"HEAD"} if "GET" in found else found))
            raise WrongMethod(f"this path answers {allowed}", allowed=allowed)
        if method == "HEAD" and (found.value.streams or found.value.method.is_mutation):
            raise WrongMethod("this path answers GET, with a body or an effect", allowed="GET")
        return found.value, found.captured

    async def _stream(
        self, endpoint: Endpoint, captured: tuple[tuple[str, str], ...], exchange: _Exchange
    ) -> Answer | None:
        if self.stopping.is_set():
            raise Unavailable("the server is going away", retry_after_seconds=0)
        body = await exchange.read_body()
        request = endpoint.bind(captured, exchange.query, exchange.headers, body)
        stream = EventStream(
            endpoint.messages(request, exchange.headers),
            receive=exchange.receive,
            send=exchange.send,
            trace_id=exchange.trace_id,
            stopping=self.stopping,
            log=log,
            heartbeat_seconds=self._heartbeat,
        )
        await stream.run()
        exchange.describe(200, stream.reason, messages=stream.sent)
        return None


class _Exchange:
    """One request and what is known of it."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.started = time.monotonic()
        self.method: str = scope["method"]
        self.path: str = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
        self.query: bytes = scope["query_string"]
        self.headers: Headers = scope["headers"]
        self.receive = receive
        self.send = send
        self.route = NO_ROUTE
        self.trace_id = ""
        self._span: Any = None

    def enter(self, endpoint: Endpoint, tracer: Tracer) -> None:
        """Start the trace of the call that this exchange becomes."""
        self.route = endpoint.name
        context = None
        for name, value in self.headers:
            # Ours: the edge's Envoy has removed what the client may have sent under this name.
            if name == b"traceparent":
                parent = telemetry.parse_traceparent(value.decode("latin-1"))
                context = trace.set_span_in_context(NonRecordingSpan(parent)) if parent is not None else None
        self._span = tracer.start_span(
            endpoint.name,
            context=context,
            kind=SpanKind.SERVER,
            attributes={"http.request.method": self.method, "http.route": endpoint.route.rule.template},
        )
        # Never detached: every exchange has a task, and so a context, of its own.
        otel_context.attach(trace.set_span_in_context(self._span))
        span = self._span.get_span_context()
        self.trace_id = f"{span.trace_id:032x}" if span.is_valid else ""

    async def refuse_large_body(self) -> None:
        """Read a body away that is announced as too large.

        Raises:
            BodyTooLarge: It is larger than 1 MiB.
        """
        # The server has checked that it is a number.
        length = next((int(value) for name, value in self.headers if name == b"content-length"), 0)
        if length <= MAX_BODY_BYTES:
            return
        if length <= MAX_DISCARDED_BYTES:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BODY_SECONDS):
                    while (await self._message()).get("more_body"):
                        pass
        raise BodyTooLarge(f"the body is larger than {MAX_BODY_BYTES} bytes")

    async def read_body(self) -> bytes:
        """Return the whole body.

        Raises:
            BodyTooLarge: It is larger than 1 MiB.
            DeadlineExceeded: It did not arrive in time.
        """
        if not any(name in (b"content-length", b"transfer-encoding") for name, _ in self.headers):
            return b""
        message = await self._message()
        if not message.get("more_body"):
            return self._within_bound(message["body"])
        body = bytearray(message["body"])
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while message.get("more_body"):
                    message = await self._message()
                    body += message["body"]
                    self._within_bound(body)
        except TimeoutError:
            raise DeadlineExceeded("the body did not arrive in time") from None
        return bytes(body)

    async def _message(self) -> Any:
        message = await self.receive()
        if message["type"] == "http.disconnect":
            raise _ClientGone
        return message

    @staticmethod
    def _within_bound(body: Any) -> Any:
        if len(body) > MAX_BODY_BYTES:
            raise BodyTooLarge(f"the body is larger than {MAX_BODY_BYTES} bytes")
        return body

    async def unless_gone(self, work: Awaitable[Answer]) -> Answer:
        """Return what the work returns; when the client leaves first, cancel it and with it the call.

        Raises:
            _ClientGone: The client left.
        """
        task = asyncio.current_task()
        assert task is not None
        loop = asyncio.get_running_loop()
        gone = done = False
        watcher: asyncio.Task[None] | None = None

        async def watch() -> None:
            nonlocal gone
            while (await self.receive())["type"] != "http.disconnect":
                pass
            if not done:
                gone = True
                task.cancel()

        def start() -> None:
            nonlocal watcher
            watcher = loop.create_task(watch())

        timer = loop.call_later(WATCH_AFTER_SECONDS, start)
        try:
            return await work
        except asyncio.CancelledError:
            if gone:
                task.uncancel()
                raise _ClientGone from None
            raise
        finally:
            done = True
            timer.cancel()
            if watcher is not None:
                watcher.cancel()

    def describe(
        self, status: int, reason: str = "", size: int = 0, *, messages: int | None = None, quiet: bool = False
    ) -> None:
        """Count the exchange, write its line, end its span."""
        seconds = time.monotonic() - self.started
        REQUESTS.labels(self.route, status).inc()
        REQUEST_SECONDS.labels(self.route).observe(seconds)
        if self._span is not None:
            if self._span.is_recording():
                self._span.set_attribute("http.response.status_code", status)
                if status >= 500:
                    self._span.set_status(trace.StatusCode.ERROR, reason)
            self._span.end()
        fields: dict[str, Any] = {"method": self.method, "route": self.route, "status": status}
        if self.route == NO_ROUTE:
            fields["path"] = self.path[:200]
        fields["ms"] = round(seconds * 1000, 2)
        fields["bytes"] = size
        if reason:
            fields["reason"] = reason
        if messages is not None:
            fields["messages"] = messages
        if self.trace_id:
            fields["trace_id"] = self.trace_id
        (log.debug if quiet else log.info)("request", **fields)
