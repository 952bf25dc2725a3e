"""What arms a failpoint, and what an armed one does. Images are built without this module, and arm nothing."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass


class FailpointReached(RuntimeError):
    """An armed failpoint with the action `raise` was reached."""


@dataclass
class _Armed:
    action: str
    milliseconds: int
    left: int | None


class Failpoints:
    """The armed failpoints of this process.

    Actions: `exit` ends the process at once with status 137, as a kill would; `raise` raises `FailpointReached`;
    `hang` waits until cancelled; `sleep:<ms>` waits that long. `exit*1` acts once and then lets pass.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.armed: dict[str, _Armed] = {}
        for entry in filter(None, environment.get("TITAN_FAILPOINTS", "").split(";")):
            name, separator, action = entry.partition("=")
            if not separator:
                raise ValueError(f"TITAN_FAILPOINTS: {entry!r} is not name=action")
            self.arm(name.strip(), action.strip())

    def arm(self, name: str, action: str) -> None:
        """Make the failpoint act from now on.

        Raises:
            ValueError: There is no such action.
        """
        verb, star, count = action.partition("*")
        verb, _, milliseconds = verb.partition(":")
        if verb not in ("exit", "raise", "hang", "sleep") or (verb == "sleep") != bool(milliseconds):
            raise ValueError(f"failpoint {name}: no action {action!r}")
        self.armed[name] = _Armed(verb, int(milliseconds or 0), int(count) if star else None)

    def reset(self) -> None:
        """Disarm every failpoint."""
        self.armed.clear()

    async def act(self, name: str) -> None:
        """Do what the failpoint is armed with."""
        armed = self.armed.get(name)
        if armed is None or armed.left == 0:
            return
        if armed.left is not None:
            armed.left -= 1
        if armed.action == "exit":
            os._exit(137)
        if armed.action == "raise":
            raise FailpointReached(name)
        if armed.action == "hang":
            await asyncio.Event().wait()
        await asyncio.sleep(armed.milliseconds / 1000)
