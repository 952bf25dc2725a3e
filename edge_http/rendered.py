"""Remembers the JSON of answers that many people read, by their binary form.

Nothing here grows old: the same bytes always mean the same JSON, and the service is asked every time. What is saved is
the translation of pages that have not changed, which costs ten times as much as serializing them again.
"""

from __future__ import annotations

from collections import OrderedDict

from google.protobuf.message import Message

from edge_http import json_writer

MAX_BYTES = 16 * 1024 * 1024
MAX_ANSWER_BYTES = 256 * 1024


class Rendered:
    """The answers that were asked for last, within a bound of bytes."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max = max_bytes
        self._size = 0
        self._kept: OrderedDict[tuple[str, bytes], bytes] = OrderedDict()

    def json_of(self, message: Message) -> bytes:
        """Return the JSON of a message."""
        key = (message.DESCRIPTOR.full_name, message.SerializeToString())
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
            return found
        made = json_writer.to_bytes(message)
        if len(made) <= MAX_ANSWER_BYTES:
            self._kept[key] = made
            self._size += len(made) + len(key[1])
            while self._size > self._max:
                (_, binary), oldest = self._kept.popitem(last=False)
                self._size -= len(oldest) + len(binary)
        return made

    def __len__(self) -> int:
        return len(self._kept)
