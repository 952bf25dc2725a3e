"""The settings of the order package. It reads no environment: its one secret lies where the runtime says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

MASTER_KEYS_FILE = "order_master_key"
"""The file of the master keys that wrap the users' keys."""


@dataclass(frozen=True, slots=True)
class OrderSettings:
    """How long the package waits for what, and where its master key lies."""

    secrets_dir: Path
    """The folder of the secret files; `MASTER_KEYS_FILE` is in it."""
    lease_seconds: float = 3.0
    """How long a coordinator may work on an order before another one picks it up."""
    give_up_seconds: float = 60.0
    """How long an order may stay undecided when nothing waits for its customer."""
    give_up_attempts: int = 5
    """How often such an order was tried before it is given up: a start after a long stop gives nothing up at once."""
    sweep_seconds: float = 0.25
    """How often a process looks for orders that nobody works on."""
    action_poll_seconds: float = 1.0
    """How often the payment is asked about while a customer has something to do."""
    max_driving: int = 4096
    """How many orders one process works on at a time; the rest waits for the sweeper."""
