"""One child process under supervision: started, watched, restarted with backoff, stopped."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from signal import Signals

from control import spawn
from control.spawn import Program, StartFailed

FIRST_BACKOFF_SECONDS = 0.1
LONGEST_BACKOFF_SECONDS = 5.0
STEADY_SECONDS = 30.0
"""A process that lived this long starts again without the delays that its earlier deaths had earned."""

NICENESS = 8
"""How much more patient a process that works is than the supervisor. One that starts goes before them, with six times
their share of a busy machine: callers wait for it."""

PROBE_SECONDS = 2.0
_POLL_SECONDS = 0.02
_SETTLE_POLL_SECONDS = 0.2

Health = Callable[[], Awaitable[bool]]


class State(StrEnum):
    """Where a process stands."""

    WAITING = "waiting"
    STARTING = "starting"
    RUNNING = "running"
    BACKOFF = "backoff"
    HELD = "held"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Process:
    """A process of the mesh.

    Attributes:
        hosts: What runs in it, for people.
        address: Where it listens, for people.
        stop_order: Lower ones are stopped first; equal ones together.
        health: Asked while it starts and by the status; without one, the program's own probe answers.
        prepare: What has to be done once before it starts; it may block.
        package: The package it is a replica of, if it is one.
    """

    program: Program
    hosts: Sequence[str] = ()
    address: str = ""
    stop_order: int = 0
    health: Health | None = None
    prepare: Callable[[], None] | None = None
    package: str | None = None
    replica: int = 0

    @property
    def name(self) -> str:
        """The process's name, which is its program's."""
        return self.program.name


class Supervised:
    """A process and what became of it."""

    def __init__(self, process: Process, *, changed: Callable[[], None] = lambda: None) -> None:
        """Take a process into care; `changed` is called whenever its process id is another."""
        self.process = process
        self.state = State.WAITING
        self.restarts = 0
        self.last_end = ""
        self._changed = changed
        self._child: subprocess.Popen[bytes] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._settling: asyncio.Task[None] | None = None
        self._stopping = False
        self._restart_asked = False
        self._released = asyncio.Event()
        self._released.set()
        self._extra_environment: dict[str, str] = {}

    @property
    def name(self) -> str:
        """The process's name."""
        return self.process.name

    @property
    def pid(self) -> int | None:
        """The process id, or None while there is no process."""
        return self._child.pid if self._child is not None and self._child.returncode is None else None

    async def start(self, *, ready_seconds: float) -> None:
        """Start it, wait until it is healthy, and watch it from then on.

        Raises:
            StartFailed: It ended or was not healthy in time; the message ends with its log. Nothing is left running.
        """
        if self.process.prepare is not None:
            await asyncio.to_thread(self.process.prepare)
        self.state = State.STARTING
        child = self._spawn()
        deadline = time.monotonic() + ready_seconds
        while not await self.healthy():
            gone = child.poll() is not None
            if gone or time.monotonic() > deadline:
                why = f"ended with {_end_of(child)}" if gone else spawn.too_late(ready_seconds)
                await self.stop()
                raise StartFailed(f"{self.name} {why}. {spawn.last_words(self.process.program.log)}")
            await asyncio.sleep(_POLL_SECONDS)
        self.state = State.RUNNING
        _step_aside(child)
        self._watcher = asyncio.create_task(self._watch(child), name=f"watch {self.name}")

    async def healthy(self) -> bool:
        """Ask the process whether it can work; a slow answer is a no."""
        if self._child is None or self._child.poll() is not None:
            return False
        probe = self.process.health() if self.process.health else asyncio.to_thread(self.process.program.ready)
        try:
            return await asyncio.wait_for(probe, PROBE_SECONDS)
        except TimeoutError:
            return False

    def signal(self, name: signal.Signals) -> None:
        """Send it a signal; nothing happens while there is no process."""
        if self.pid is not None:
            os.kill(self.pid, name)

    def restart(self, environment: Mapping[str, str] | None = None) -> None:
        """Ask it to end; it is started again at once, and this once with more in its environment."""
        self._restart_asked = True
        self._extra_environment = dict(environment or {})
        self.signal(self.process.program.stop_signal)

    async def hold(self, name: Signals) -> None:
        """End it with a signal and leave it down until it is released; returns when it has ended."""
        self._released.clear()
        child = self._child
        self.signal(name)
        if child is not None:
            await ended(child)

    def release(self) -> None:
        """Let it be started again at once, if it was held."""
        self._released.set()

    async def stop(self) -> None:
        """Ask it to end, wait, and kill it if it does not; it is not started again."""
        self._stopping = True
        program = self.process.program
        if self._watcher is not None and self.state in (State.BACKOFF, State.HELD):
            self._watcher.cancel()
        child = self._child
        if child is not None and child.poll() is None:
            self.signal(program.stop_signal)
            try:
                await asyncio.wait_for(ended(child), program.stop_seconds)
            except TimeoutError:
                self.last_end = f"killed: did not end within {program.stop_seconds:.0f} s"
                child.kill()
                await ended(child)
        if self._watcher is not None:
            await asyncio.gather(self._watcher, return_exceptions=True)
        self.state = State.STOPPED

    def _spawn(self) -> subprocess.Popen[bytes]:
        program, extra = self.process.program, self._extra_environment
        self._extra_environment = {}
        self._child = spawn.start(replace(program, environment={**program.environment, **extra}))
        self._changed()
        return self._child

    async def _watch(self, child: subprocess.Popen[bytes]) -> None:
        """Start the process again whenever it ends, later and later as long as it does not live."""
        delay = FIRST_BACKOFF_SECONDS
        while True:
            started = time.monotonic()
            await ended(child)
            if self._settling is not None:
                self._settling.cancel()
            if self._stopping:
                return
            self.last_end = _end_of(child)
            if time.monotonic() - started >= STEADY_SECONDS:
                delay = FIRST_BACKOFF_SECONDS
            asked, self._restart_asked = self._restart_asked, False
            self.state = State.BACKOFF
            while True:
                if not asked and self._released.is_set():
                    _say(f"{self.name} ended with {self.last_end}; it starts again in {delay:.1f} s")
                    await asyncio.sleep(delay)
                    delay = min(delay * 2, LONGEST_BACKOFF_SECONDS)
                if not self._released.is_set():
                    _say(f"{self.name} ended with {self.last_end}; it is held down")
                    self.state = State.HELD
                    await self._released.wait()
                    self.state = State.BACKOFF
                self.restarts += 1
                try:
                    child = self._spawn()
                    break
                except StartFailed as problem:  # its program is gone: whoever took it away may bring it back
                    asked, self.last_end = False, str(problem)
            self.state = State.RUNNING
            self._settling = asyncio.create_task(self._settle(child), name=f"settle {self.name}")

    async def _settle(self, child: subprocess.Popen[bytes]) -> None:
        while child.poll() is None:
            if await self.healthy():
                _step_aside(child)
                return
            await asyncio.sleep(_SETTLE_POLL_SECONDS)


def _step_aside(child: subprocess.Popen[bytes]) -> None:
    """Let those who start go first from now on; a process that gave up more by itself is left alone."""
    aside = os.getpriority(os.PRIO_PROCESS, 0) + NICENESS  # the kernel cuts it off at 19
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if os.getpriority(os.PRIO_PROCESS, child.pid) < aside:
            os.setpriority(os.PRIO_PGRP, child.pid, aside)  # all of its threads, and what it started


async def ended(child: subprocess.Popen[bytes]) -> None:
    """Wait for a child's end without a thread or a timer."""
    loop = asyncio.get_running_loop()
    if child.poll() is not None:
        return
    descriptor = os.pidfd_open(child.pid)
    over = asyncio.Event()
    loop.add_reader(descriptor, over.set)
    try:
        await over.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
    child.wait()


def _say(what: str) -> None:
    """Write a line into the supervisor's log."""
    print(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {what}", file=sys.stderr, flush=True)


def _end_of(child: subprocess.Popen[bytes]) -> str:
    """Say how a child ended."""
    status = child.returncode
    if status is not None and status < 0:
        return f"signal {signal.Signals(-status).name}"
    return f"status {status}"
