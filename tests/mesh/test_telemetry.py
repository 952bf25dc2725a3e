"""Logs, metrics and traces say what happened, one object a line."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest
from grpc._cython.cygrpc import ExecuteBatchError
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanContext, TraceFlags

from control.servers.ports import free_port
from mesh import telemetry
from mesh.telemetry import FileExporter, RawStream, format_traceparent, get_logger, parse_traceparent


@dataclass(frozen=True)
class Settings:
    package: str = "svc_sample"
    replica: int = 1
    log_level: str = "INFO"
    trace_sample: float = 1.0
    trace_file: str = ""
    otlp_endpoint: str = ""
    metrics_port: int = 0


@pytest.fixture(autouse=True)
def as_it_was():
    """Logging is the process's; other tests share it."""
    root, sink = logging.getLogger(), telemetry.SINK
    before = (root.handlers, root.level, sink.level, sink.fixed, sink.stream)
    yield
    root.handlers, level, sink.level, sink.fixed, sink.stream = before
    root.setLevel(level)


class Lines:
    """A stream that keeps what is written."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> None:
        self.text += text

    def flush(self) -> None:
        return

    def read(self) -> list[dict]:
        return [json.loads(line) for line in self.text.splitlines()]


def test_a_line_is_an_object_with_the_process_in_it():
    """Whatever is put into the fields, and from third parties too."""
    telemetry.SINK.stream = lines = Lines()
    telemetry.setup(Settings()).close()

    get_logger("a").info("hello\nworld", what=Path("/x"), trace_id="t")
    get_logger("a").debug("too fine")
    logging.getLogger("third.party").warning("careful: %s", "now")

    first, second = lines.read()
    assert (first["message"], first["what"], first["process"]) == ("hello\nworld", "/x", "svc_sample.1")
    assert (first["trace_id"], first["level"], first["logger"]) == ("t", "INFO", "a")
    assert (second["message"], second["logger"]) == ("careful: now", "third.party")


def test_a_caller_that_leaves_while_it_is_answered_is_no_error():
    """gRPC logs it as one, with a traceback of its own; any other failure of the same logger stays what it is."""
    telemetry.SINK.stream = lines = Lines()
    telemetry.setup(Settings()).close()
    theirs = logging.getLogger("grpc._cython.cygrpc")
    for error in (ExecuteBatchError("Failed"), RuntimeError("Failed")):
        try:
            raise error
        except Exception:
            theirs.exception("raised by servicer method [/a.B/C]")

    left, failed = lines.read()
    assert ("WARNING", None) == (left["level"], left.get("traceback"))
    assert "ERROR" == failed["level"] and "RuntimeError" in failed["traceback"]


def test_a_log_that_cannot_be_written_stops_nothing():
    """A full disk is not the caller's problem."""

    class Full:
        def write(self, text: str) -> None:
            raise OSError(28, "No space left on device")

    telemetry.SINK.stream = Full()
    get_logger("a").error("hello")


async def test_ordinary_lines_wait_for_company_and_warnings_do_not(tmp_path):
    """Order is kept; nothing waits longer than a moment."""
    path = tmp_path / "log"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    telemetry.SINK.stream, telemetry.SINK.level = RawStream(descriptor), logging.INFO
    log = get_logger("a")

    log.info("one")
    assert path.read_text() == ""
    log.warning("two")
    assert [json.loads(line)["message"] for line in path.read_text().splitlines()] == ["one", "two"]
    log.info("three")
    await asyncio.sleep(3 * telemetry.FLUSH_SECONDS)
    assert '"three"' in path.read_text()
    os.close(descriptor)


def test_lines_without_a_loop_are_written_at_once(tmp_path):
    """Before the loop runs and after it ended."""
    path = tmp_path / "log"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    telemetry.SINK.stream = RawStream(descriptor)

    get_logger("a").info("one")

    assert '"one"' in path.read_text()
    os.close(descriptor)


def test_a_traceparent_survives_and_a_malformed_one_is_none():
    """W3C trace context, version 00 and later."""
    context = SpanContext(0xABC, 0xDEF, True, TraceFlags(1))
    assert parse_traceparent(format_traceparent(context)) == context
    good = format_traceparent(context)
    for bad in (
        "",
        "garbage",
        good[:-1],
        "ff" + good[2:],
        "00-" + "0" * 32 + "-" + "1" * 16 + "-01",
        good.replace("a", "g"),
    ):
        assert parse_traceparent(bad) is None


def test_spans_are_appended_to_a_file(tmp_path):
    """One JSON object a line."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(FileExporter(tmp_path / "spans")))
    tracer = provider.get_tracer("test")
    for name in ("one", "two"):
        with tracer.start_as_current_span(name):
            pass
    provider.shutdown()

    assert [json.loads(line)["name"] for line in (tmp_path / "spans").read_text().splitlines()] == ["one", "two"]


def test_metrics_are_served_and_a_taken_port_is_an_error():
    """In Prometheus's text format."""
    port = free_port()
    telemetry.CALLS.labels("a.B.C", "OK").inc()
    started = telemetry.setup(Settings(metrics_port=port))
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        assert 'titan_calls_total{method="a.B.C",status="OK"}' in answer.read().decode()
    with pytest.raises(OSError, match="in use"):
        telemetry.setup(Settings(metrics_port=port))
    started.close()
