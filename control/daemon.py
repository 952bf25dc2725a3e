"""The supervisor's own process: one per home, in a session of its own, until it is told to stop."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from control import remote
from control.home import Home
from control.remote import Refused
from control.spawn import StartFailed
from control.supervisor import Plan, Supervisor

MakePlan = Callable[[Home, str], Plan]


class AlreadyRunning(Exception):
    """Another supervisor holds this home."""


@contextmanager
def sole_holder(home: Home) -> Iterator[bool]:
    """Hold the home for as long as the context lives; yields whether an earlier holder was cut off.

    Raises:
        AlreadyRunning: Somebody else holds it.
    """
    with (home.path / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(f"another supervisor holds {home.path}") from None
        crashed = home.supervisor_pid.exists()
        home.supervisor_pid.write_text(f"{os.getpid()}\n")
        try:
            yield crashed
        finally:
            home.supervisor_pid.unlink(missing_ok=True)
            home.supervisor_socket.unlink(missing_ok=True)


def run(home: Home, profile: str, make_plan: MakePlan) -> int:
    """Hold the home and run the mesh until it is stopped; returns the exit status.

    Why a start failed is left in `run/failure` for whoever asked for it.
    """
    home.create()
    failure = home.run / "failure"
    try:
        with sole_holder(home) as crashed:
            failure.unlink(missing_ok=True)
            try:
                asyncio.run(_supervise(home, make_plan(home, profile), profile, crashed=crashed))
            except Exception as problem:
                if not isinstance(problem, StartFailed):
                    traceback.print_exc()
                failure.write_text(f"{problem or type(problem).__name__}\n")
                print(problem, file=sys.stderr, flush=True)
                return 1
    except AlreadyRunning as problem:
        print(problem, file=sys.stderr, flush=True)
        return 1
    return 0


async def _supervise(home: Home, plan: Plan, profile: str, *, crashed: bool) -> None:
    """Start, wait for a stop, stop; a stop that comes during the start cuts it short."""
    supervisor = Supervisor(plan, profile)
    stop_asked = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(name, stop_asked.set)
    server = await remote.serve(home.supervisor_socket, lambda request: _answer(supervisor, stop_asked, request))
    start = asyncio.create_task(supervisor.start(after_a_crash=crashed))
    stopping = asyncio.create_task(stop_asked.wait())
    try:
        await asyncio.wait({start, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if start.done():
            await start
            await stopping
            await supervisor.stop()
        else:
            start.cancel()
            await asyncio.gather(start, return_exceptions=True)
    finally:
        stopping.cancel()
        server.close()


async def _answer(supervisor: Supervisor, stop_asked: asyncio.Event, request: dict[str, Any]) -> Any:
    match request:
        case {"do": "progress"}:
            return supervisor.progress()
        case {"do": "status", **more}:
            return await supervisor.status(memory=bool(more.get("memory")))
        case {"do": "stop"}:
            stop_asked.set()
        case {"do": "scale", "package": str(package), "replicas": int(replicas)}:
            await supervisor.scale(package, replicas)
        case {"do": "restart", "name": str(name), "environment": dict(environment)}:
            supervisor.restart(name, {str(key): str(value) for key, value in environment.items()})
        case {"do": "kill", "name": str(name), "signal": str(signal_name)}:
            supervisor.kill(name, signal_name)
        case {"do": "hold", "name": str(name), "signal": str(signal_name)}:
            await supervisor.hold(name, signal_name)
        case {"do": "release", "name": str(name)}:
            supervisor.release(name)
        case {"do": "rotate"}:
            supervisor.rotate()
        case {"do": "replace password", "name": str(name)}:
            await supervisor.replace_password(name)
        case _:
            raise Refused("the supervisor does not know this request: was it started by another version?")
    return None
