"""Logs, metrics and traces of a process, and the words in which they are written.

Owns the JSON log (one object a line on standard output), the Prometheus registry and the OpenTelemetry provider. It
never records a request body, a token or an address: the names of methods, reasons, ids and durations are enough.
"""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import NonRecordingSpan, ProxyTracerProvider, SpanContext, TraceFlags
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from mesh import calls
from mesh.error_text import traceback_of

REGISTRY = CollectorRegistry()
CALLS = Counter("titan_calls", "Calls that ended.", ["method", "status"], registry=REGISTRY)
CALL_SECONDS = Histogram(
    "titan_call_seconds",
    "How long calls took.",
    ["method"],
    registry=REGISTRY,
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
RUNNING = Gauge("titan_running_calls", "Calls that run now, by kind.", ["kind"], registry=REGISTRY)
SHED = Counter("titan_shed_calls", "Calls refused because too many ran.", ["method"], registry=REGISTRY)
CLIENT_CALLS = Counter("titan_client_calls", "Outgoing calls by outcome.", ["method", "status"], registry=REGISTRY)
CLIENT_RETRIES = Counter("titan_client_retries", "Outgoing calls sent again.", ["method"], registry=REGISTRY)
DENIALS = Counter("titan_denials", "Calls of somebody known, refused for want of a right.", registry=REGISTRY)
RESTARTS = Counter("titan_background_restarts", "Background tasks that crashed.", ["task"], registry=REGISTRY)

FLUSH_SECONDS = 0.05
FLUSH_LINES = 256

_MAX_TEXT_CHARACTERS = 8192
_NOBODY_THERE = "ExecuteBatchError"
"""What gRPC raises, and calls an error, when a caller leaves in the moment of its answer. Callers with short deadlines
do, and whoever is cut off: it is nobody's defect."""

_NO_CONTEXT = contextvars.Context()


class TelemetrySettings(Protocol):
    """The part of the settings that telemetry needs; `mesh.settings.Settings` has it."""

    @property
    def package(self) -> str:
        """The package of the process, such as svc_order."""
        ...

    @property
    def replica(self) -> int:
        """Which of the processes of the package this one is, from 0."""
        ...

    @property
    def log_level(self) -> str:
        """The least level that is logged, such as INFO."""
        ...

    @property
    def trace_sample(self) -> float:
        """The share of calls without a trace that begin one, 0 to 1."""
        ...

    @property
    def trace_file(self) -> str:
        """The file that spans are appended to; empty for none."""
        ...

    @property
    def otlp_endpoint(self) -> str:
        """Where an OTLP collector listens; empty for none."""
        ...

    @property
    def metrics_port(self) -> int:
        """The port that shows the metrics; 0 for none."""
        ...


class Sink:
    """Writes one JSON object a line; every line carries the process and, inside a call, its trace id."""

    def __init__(self) -> None:
        self.stream: Any = None
        self.level = logging.INFO
        self.fixed: dict[str, object] = {}
        self._encode = json.JSONEncoder(default=str, separators=(",", ":")).encode
        self._second = 0
        self._prefix = ""

    def write(self, level: int, logger: str, message: str, fields: dict[str, Any]) -> None:
        """Write a line of this level, unless such lines are not wanted."""
        if level < self.level:
            return
        now = time.time()
        second = int(now)
        if second != self._second:
            self._second, self._prefix = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        line: dict[str, Any] = {
            "time": f"{self._prefix}.{int((now - second) * 1000):03d}Z",
            "level": logging.getLevelName(level),
            "logger": logger,
            "message": message,
            **self.fixed,
        }
        if "trace_id" not in fields:
            trace_id = current_trace_id()
            if trace_id:
                line["trace_id"] = trace_id
        line.update(fields)
        text = self._encode(line) + "\n"
        try:
            stream = self.stream or sys.stdout
            stream.write(text)
            if level < logging.WARNING and isinstance(stream, RawStream):
                stream.flush_soon()
            else:
                stream.flush()
        except (OSError, ValueError):
            # A full disk or a closed pipe must not fail the call that is being described.
            return


class RawStream:
    """Standard output, written when a line matters, when there is much of it, or soon.

    A write of the operating system for every call costs more than all checks of that call together. So ordinary lines
    wait up to 50 ms for company; a process that is killed loses those, and never a warning or an error.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lines: list[str] = []
        self._lock = threading.Lock()
        self._scheduled = False

    def write(self, text: str) -> None:
        """Keep a text until the next flush."""
        self._lines.append(text)

    def flush_soon(self) -> None:
        """Have the lines written shortly; at once where no event loop runs."""
        if len(self._lines) >= FLUSH_LINES:
            self.flush()
        elif not self._scheduled:
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:
                self.flush()
                return
            self._scheduled = True
            loop.call_later(FLUSH_SECONDS, self._flush_now, context=_NO_CONTEXT)

    def flush(self) -> None:
        """Write what was kept, all of it, in order."""
        with self._lock:
            lines, self._lines = self._lines, []
            data = "".join(lines).encode("utf-8", "replace")
            while data:
                data = data[os.write(self._descriptor, data) :]

    def _flush_now(self) -> None:
        self._scheduled = False
        try:
            self.flush()
        except OSError:
            return


SINK = Sink()


class Logger:
    """A structured logger: a message for people, and fields for programs."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def debug(self, message: str, **fields: Any) -> None:
        """Log what only somebody who looks for a fault wants to read."""
        SINK.write(logging.DEBUG, self.name, message, fields)

    def info(self, message: str, **fields: Any) -> None:
        """Log what a process did as it should."""
        SINK.write(logging.INFO, self.name, message, fields)

    def warning(self, message: str, **fields: Any) -> None:
        """Log what is wrong but is being coped with."""
        SINK.write(logging.WARNING, self.name, message, fields)

    def error(self, message: str, **fields: Any) -> None:
        """Log what somebody has to look at."""
        SINK.write(logging.ERROR, self.name, message, fields)

    def exception(self, message: str, error: BaseException, **fields: Any) -> None:
        """Log an unexpected exception with its traceback."""
        text = traceback_of(error)
        fields.setdefault("error", type(error).__name__)
        SINK.write(logging.ERROR, self.name, message, {**fields, "traceback": text[-_MAX_TEXT_CHARACTERS:]})


def get_logger(name: str) -> Logger:
    """Return the structured logger of this name."""
    return Logger(name)


class _Bridge(logging.Handler):
    """Carries the lines of third parties, which use the standard library's logging, into the same log."""

    def emit(self, record: logging.LogRecord) -> None:
        fields: dict[str, Any] = {}
        level, error = record.levelno, record.exc_info[1] if record.exc_info else None
        if type(error).__name__ == _NOBODY_THERE:
            level = min(level, logging.WARNING)
        elif error is not None:
            fields["traceback"] = traceback_of(error)[-_MAX_TEXT_CHARACTERS:]
        try:
            message = record.getMessage()[:_MAX_TEXT_CHARACTERS]
        except (TypeError, ValueError):
            message = str(record.msg)[:_MAX_TEXT_CHARACTERS]
        SINK.write(level, record.name, message, fields)


class FileExporter(SpanExporter):
    """Appends finished spans to a file, one JSON object a line."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")
        self._lock = threading.Lock()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Append the spans; it fails once the file is closed."""
        with self._lock:
            if self._file.closed:
                return SpanExportResult.FAILURE
            self._file.writelines(span.to_json(indent=None) + "\n" for span in spans)
            self._file.flush()
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Close the file."""
        with self._lock:
            self._file.close()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Return True: each export has flushed already."""
        return True


class Telemetry:
    """What `setup` started; `close` flushes the spans and ends the metrics port."""

    def __init__(self, provider: TracerProvider, metrics: Any) -> None:
        self.provider = provider
        self._metrics = metrics

    def close(self) -> None:
        """Flush the spans and end the metrics port."""
        self.provider.shutdown()
        if self._metrics is not None:
            server, thread = self._metrics
            server.shutdown()
            server.server_close()
            thread.join(timeout=1)


def setup(settings: TelemetrySettings, *, host: str = "127.0.0.1") -> Telemetry:
    """Start logs, traces and the metrics port of this process. Called once, before anything that logs.

    Raises:
        OSError: The metrics port is taken.
    """
    SINK.level = logging.getLevelNamesMapping().get(settings.log_level, logging.INFO)
    if SINK.stream is None and sys.stdout is sys.__stdout__ and sys.stdout is not None:
        SINK.stream = RawStream(sys.stdout.fileno())
        atexit.register(SINK.stream.flush)
    SINK.fixed = {"process": f"{settings.package}.{settings.replica}"}
    root = logging.getLogger()
    root.handlers = [_Bridge()]
    root.setLevel(max(SINK.level, logging.WARNING))

    provider = TracerProvider(
        resource=Resource.create(
            {"service.name": settings.package, "service.instance.id": f"{settings.package}.{settings.replica}"}
        ),
        sampler=ParentBased(TraceIdRatioBased(settings.trace_sample)),
        shutdown_on_exit=False,
    )
    if settings.otlp_endpoint:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=settings.otlp_endpoint)))
    if settings.trace_file:
        provider.add_span_processor(BatchSpanProcessor(FileExporter(Path(settings.trace_file))))
    if isinstance(trace.get_tracer_provider(), ProxyTracerProvider):
        trace.set_tracer_provider(provider)  # one per process: a second one would be refused with a warning
    metrics = None
    if settings.metrics_port:
        metrics = start_http_server(settings.metrics_port, addr=host, registry=REGISTRY)
    return Telemetry(provider, metrics)


def current_trace_id() -> str:
    """Return the trace id of the current call or span in hexadecimal, or nothing."""
    call = calls.current()
    if call is not None and call.trace_id:
        return call.trace_id
    context = trace.get_current_span().get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid else ""


def parse_traceparent(value: str) -> SpanContext | None:
    """Return the remote span of a W3C `traceparent` header, or None where it is malformed."""
    parts = value.split("-")
    if len(parts) < 4 or [len(part) for part in parts[:4]] != [2, 32, 16, 2] or parts[0] == "ff":
        return None
    try:
        context = SpanContext(int(parts[1], 16), int(parts[2], 16), True, TraceFlags(int(parts[3], 16)))
    except ValueError:
        return None
    return context if context.is_valid else None


def format_traceparent(context: SpanContext) -> str:
    """Return the W3C `traceparent` header of a span."""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def join_unrecorded_trace() -> None:
    """Put the running task into a trace of its own that nobody records: for background work that repeats for ever."""
    ids = RandomIdGenerator()
    span = SpanContext(ids.generate_trace_id(), ids.generate_span_id(), False, TraceFlags(0))
    otel_context.attach(trace.set_span_in_context(NonRecordingSpan(span)))


def is_unsampled(value: str | None) -> bool:
    """Whether the caller of a call decided that its trace is not recorded (`traceparent` is there, its flag is off)."""
    return value is not None and len(value) == 55 and value.endswith("-00")


def current_trace() -> otel_context.Context:
    """Return the trace that the running task is in, to hand it to work that outlives the task."""
    return otel_context.get_current()


def is_recorded(traced: otel_context.Context) -> bool:
    """Return whether spans of this trace are kept."""
    return trace.get_current_span(traced).get_span_context().trace_flags.sampled


@contextmanager
def in_trace(traced: otel_context.Context) -> Iterator[None]:
    """Do the block's work as a part of a trace."""
    token = otel_context.attach(traced)
    try:
        yield
    finally:
        otel_context.detach(token)


def detached_context() -> contextvars.Context:
    """Return a context for a task of its own that keeps the current trace and nothing else of the current call."""
    fresh = contextvars.Context()
    fresh.run(otel_context.attach, current_trace())
    return fresh
