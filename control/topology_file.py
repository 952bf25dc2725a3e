"""Which topology a local mesh is made from: the shipped one, or the one that TITAN_TOPOLOGY names."""

from __future__ import annotations

import os
from pathlib import Path

from mesh import topology
from mesh.topology import Topology

ROOT = Path(__file__).resolve().parent.parent
TOPOLOGY = ROOT / "deploy" / "topology.toml"


def path() -> Path:
    """Return the absolute path of the file."""
    return Path(os.environ.get("TITAN_TOPOLOGY") or TOPOLOGY).absolute()


def read() -> Topology:
    """Return the topology.

    Raises:
        TopologyError: It contradicts itself.
    """
    return topology.load(path())
