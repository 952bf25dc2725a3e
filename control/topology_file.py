"""Which topology and policies a local mesh is made from: the shipped ones, or those that settings name."""

from __future__ import annotations

import os
from pathlib import Path

from mesh import topology
from mesh.topology import Topology

ROOT = Path(__file__).resolve().parent.parent
TOPOLOGY = ROOT / "deploy" / "topology.toml"
POLICIES = ROOT / "deploy" / "policies.cedar"
"""What roles may do; TITAN_POLICIES names another file."""


def path() -> Path:
    """Return the absolute path of the file."""
    return Path(os.environ.get("TITAN_TOPOLOGY") or TOPOLOGY).absolute()


def policies_path() -> Path:
    """Return the absolute path of the file of policies."""
    return Path(os.environ.get("TITAN_POLICIES") or POLICIES).absolute()


def read() -> Topology:
    """Return the topology.

    Raises:
        TopologyError: It contradicts itself.
    """
    return topology.load(path())
