"""Python imports this at its start, where it is on the path: then the time of day is off, and nothing else is.

`time.monotonic` stays as it is, as it does on a machine whose clock is set wrong. What C code asks the system itself
(TLS, gRPC's deadlines) is not bent. So the Python of gRPC, which reckons with the C code's times, keeps the true ones:
on a machine whose clock is wrong the two agree, and a call that may take two seconds is not over before it begins.
"""

from __future__ import annotations

import datetime
import importlib
import os
import time
from types import ModuleType
from typing import Any

SECONDS = int(os.environ.get("TITAN_PROOF_CLOCK_SKEW_SECONDS", "0"))
_BY = datetime.timedelta(seconds=SECONDS)
_true_time, _true_time_ns, _true_datetime = time.time, time.time_ns, datetime.datetime


class _LooksTrue(type):
    """Moments that C code made are moments too."""

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, _true_datetime)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, _true_datetime)


class SkewedDatetime(_true_datetime, metaclass=_LooksTrue):
    """The class that everybody imports as `datetime.datetime`; what it makes is the true class's own."""

    def __new__(cls, *arguments: Any, **named: Any) -> Any:
        return _true_datetime(*arguments, **named)

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return _true_datetime.now(tz) + _BY

    @classmethod
    def utcnow(cls) -> Any:
        return _true_datetime.now(datetime.UTC).replace(tzinfo=None) + _BY

    @classmethod
    def today(cls) -> Any:
        return _true_datetime.now() + _BY

    @classmethod
    def fromtimestamp(cls, timestamp: float, tz: Any = None) -> Any:
        return _true_datetime.fromtimestamp(timestamp, tz)

    @classmethod
    def fromisoformat(cls, text: str) -> Any:
        return _true_datetime.fromisoformat(text)

    @classmethod
    def strptime(cls, text: str, form: str) -> Any:
        return _true_datetime.strptime(text, form)

    @classmethod
    def combine(cls, *arguments: Any, **named: Any) -> Any:
        return _true_datetime.combine(*arguments, **named)


GRPC = ("grpc._cython.cygrpc", "grpc._common", "grpc._channel", "grpc.aio._utils")
"""The modules of gRPC that ask for the time of day."""


def _leave_true(names: tuple[str, ...]) -> None:
    """Have modules keep the time as it is."""
    true = ModuleType("time")
    true.__dict__.update(vars(time))
    for name in names:
        try:
            module: Any = importlib.import_module(name)
        except ModuleNotFoundError:
            continue  # a process without gRPC
        assert module.time is time, f"{name} asks for the time in another way"
        module.time = true


if SECONDS:
    _leave_true(GRPC)
    time.time = lambda: _true_time() + SECONDS
    time.time_ns = lambda: _true_time_ns() + SECONDS * 1_000_000_000
    datetime.datetime = SkewedDatetime  # type: ignore[misc]
