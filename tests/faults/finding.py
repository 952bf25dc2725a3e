"""What an invariant found, and what of the evidence several invariants ask for."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.faults.evidence import Block, Evidence

AFTER_SECONDS = 2.0
"""How long before and after a fault a moment may still belong to it."""

CART_SECONDS = 1.0
"""How old what comes back of a cart may be, when Redis has lost it; the commands that made it share its fate."""

REDIS_LOSES = {"kill redis", "redis forgets"}
"""The faults after which nothing of what Redis held is there any more."""


@dataclass
class Finding:
    """How many things were looked at, and a line for each that is wrong, with the ids to look for."""

    checked: int = 0
    violations: list[str] = field(default_factory=list)

    def expect(self, right: bool, wrong: str) -> None:
        """Count one thing that was looked at."""
        self.checked += 1
        if not right:
            self.violations.append(wrong)

    def expect_chain(self, blocks: Sequence[Block], begins_with: bytes, name: str = "") -> None:
        """Count the blocks of a sealed chain, each with its rows and with the block before."""
        previous = hashlib.sha256(begins_with).digest()
        for height, block in enumerate(blocks):
            content = previous + height.to_bytes(8, "big") + block.row_count.to_bytes(8, "big") + block.rows_hash
            sealed = previous if height == 0 else hashlib.sha256(content).digest()
            whole = block.height == height and block.hash == sealed and (height == 0 or block.previous_hash == previous)
            self.expect(whole, f"{name}block {block.height}: the chain is broken")
            self.expect(
                height == 0 or (block.counted, block.counted_hash) == (block.row_count, block.rows_hash),
                f"{name}block {block.height}: its rows were changed",
            )
            previous = block.hash
        self.expect(bool(blocks), f"{name}the sealed chain has no beginning")


def redis_losses(evidence: Evidence) -> list[tuple[float, float]]:
    """Return from when to when something was put into carts that may be gone."""
    return [
        (each.began_at - CART_SECONDS, each.lifted_at) for each in evidence.disturbances if each.name in REDIS_LOSES
    ]


def disturbed_at(evidence: Evidence, wall: float) -> bool:
    """Return whether something was broken at a moment, or nearly."""
    return any(each.began - AFTER_SECONDS <= wall <= each.over + AFTER_SECONDS for each in evidence.disturbances)
