"""What a replay asks of the shop's bulk worker when it is through: its sales report, and its own books of the file."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from replay.edge import Edge, Refused, ReplayFailed

MOST_LINES = 500_000
"""Of a file that an operation takes."""
PART_BYTES = 1_000_000
"""Of a file that is sent, in one call."""
SUCCEEDED = "SUCCEEDED"
WAIT_SECONDS = 20
MOST_WAITS = 30
"""Of `WAIT_SECONDS` each: an operation that takes longer, or stands behind others for as long, is given up."""


@dataclass(frozen=True, slots=True)
class Done:
    """An operation that succeeded: what it wrote, by name, how many rows it went through, and how long it took from the
    call that asked for it to the one that had its end."""

    files: Mapping[str, bytes]
    rows: int
    seconds: float


@dataclass
class Jobs:
    """The bulk worker behind an edge."""

    edge: Edge

    async def run(self, **job: Any) -> Done:
        """Have a job done, and read what it wrote.

        Raises:
            ReplayFailed: It was refused, did not succeed, or did not end.
        """
        (name,) = job
        began = time.monotonic()
        try:
            operation = await self._ended(name, job)
            seconds = time.monotonic() - began
            files = {each["name"]: await self._content(each) for each in operation.get("files", ())}
        except Refused as refusal:
            raise ReplayFailed(f"the operation {name} was refused: {refusal}") from None
        return Done(files, int(operation["progress"].get("rowsDone", 0)), seconds)

    async def send(self, name: str, content: bytes) -> str:
        """Send a CSV file, part by part; returns its id.

        Raises:
            ReplayFailed: It was refused.
        """
        try:
            path, sent = f"/v1/files?name={name}&format=CSV", 0
            while not sent or sent < len(content):
                part = content[sent : sent + PART_BYTES]
                file_id: str = (await self.edge.send_content(path, part, "text/csv"))["file"]["fileId"]
                sent += max(1, len(part))
                path = f"/v1/files/{file_id}:append?offset={sent}"
        except Refused as refusal:
            raise ReplayFailed(f"the file {name} was refused: {refusal}") from None
        return file_id

    async def _ended(self, name: str, job: Mapping[str, Any]) -> dict[str, Any]:
        started = await self.edge.call("/v1/operations", {"job": job}, key=str(uuid4()))
        path = f"/v1/operations/{started['operation']['operationId']}:wait?timeoutSeconds={WAIT_SECONDS}"
        for _ in range(MOST_WAITS):
            operation: dict[str, Any] = (await self.edge.call(path, method="GET"))["operation"]
            if operation["done"]:
                if (state := operation["state"]) != SUCCEEDED:
                    why = operation.get("error", {}).get("message", "without a word")
                    raise ReplayFailed(f"the operation {name} is {state}: {why}")
                return operation
        raise ReplayFailed(f"the operation {name} has not ended after {MOST_WAITS * WAIT_SECONDS} s")

    async def _content(self, file: Mapping[str, Any]) -> bytes:
        content = b""
        while len(content) < int(file["sizeBytes"]):
            part = await self.edge.read_content(f"/v1/files/{file['fileId']}:read?offset={len(content)}")
            if not part:
                break
            content += part
        return content
