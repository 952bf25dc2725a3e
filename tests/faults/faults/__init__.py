"""The ways in which a mesh is disturbed: each a function that begins a fault and returns when it is over.

A fault is over when nothing disturbs the mesh any more; how long the mesh then needs is measured by who injects it.
To add one: write the function in the module of its kind, and put it into the FAULTS there.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

from tests.faults.faults import broker, clients, clocks, database, processes, provider, redis
from tests.faults.faults.scene import Fault, Scene, Skipped, Wrong

_KINDS: Mapping[str, Mapping[str, Fault]] = {
    "processes": processes.FAULTS,
    "database": database.FAULTS,
    "redis": redis.FAULTS,
    "broker": broker.FAULTS,
    "provider": provider.FAULTS,
    "clients": clients.FAULTS,
    "clocks": clocks.FAULTS,
}

FAULTS: Mapping[str, Fault] = {name: fault for kind in _KINDS.values() for name, fault in kind.items()}

DEADLY = (
    *(f"kill {name}" for name in (*processes.PACKAGES, *processes.PROXIES)),
    "postgres stops at once",
    "kill postgres",
    "redis forgets",
    "kill redis",
    "kill kafka",
)
"""What dies in a long run, over and over."""

SETS: Mapping[str, tuple[str, ...]] = {
    "none": (),
    "first": ("kill svc_order",),
    "short": (
        "kill svc_order",
        "kill svc_payment",
        "kill svc_inventory",
        "postgres stops at once",
        "stop svc_order",
        "redis forgets",
        "kill envoy_mesh",
        "provider loses replies",
        "kill svc_cart",
        "storm",
    ),
    **{kind: tuple(faults) for kind, faults in _KINDS.items()},
    "deadly": DEADLY,
    "others": tuple(name for name in FAULTS if name not in DEADLY),
    "all": tuple(FAULTS),
}


def chosen(words: list[str]) -> tuple[str, ...]:
    """Return the faults that names and sets of them stand for.

    Raises:
        KeyError: There is no such fault or set.
    """
    names: list[str] = []
    for word in words:
        names += SETS[word] if word in SETS else [word] if word in FAULTS else []
        if word not in SETS and word not in FAULTS:
            raise KeyError(word)
    return tuple(names)


def order_of(names: tuple[str, ...], dice: random.Random, count: int) -> list[str]:
    """Draw so many faults: every name comes once before one comes twice."""
    drawn: list[str] = []
    while len(drawn) < count and names:
        drawn += dice.sample(names, len(names))
    return drawn[:count]


__all__ = ["DEADLY", "FAULTS", "SETS", "Fault", "Scene", "Skipped", "Wrong", "chosen", "order_of"]
