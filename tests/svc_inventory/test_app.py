"""What the inventory hosts, and that its words are those of the contract."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

from mesh import topology
from mesh.refusals import Refusal
from svc_inventory import errors
from svc_inventory.app import build
from svc_inventory.inventory.rules import MovementKind
from titan.inventory.v1 import error_reason_pb2, stock_pb2


async def test_it_hosts_what_the_topology_says(db):
    """Each service of the package, the relay where there is a broker, housekeeping, and an ending for what waits."""
    settings = SimpleNamespace(kafka="127.0.0.1:1", database_url="", database_password=None)
    mesh = topology.load("deploy/topology.toml")
    hosted = await build(SimpleNamespace(package="svc_inventory", db=db, settings=settings, topology=mesh))
    declared = mesh.packages["svc_inventory"].services
    assert set(declared) == set(hosted.servicers)
    assert 2 == len(hosted.background)
    await asyncio.gather(*(ending() for ending in hosted.on_stop))


def test_movement_kinds_are_those_of_the_contract():
    """By name and by number, since the journal keeps the numbers."""
    prefix, wire = "STOCK_MOVEMENT_KIND_", stock_pb2.StockMovementKind
    assert {f"{prefix}{kind.name}": kind.value for kind in MovementKind} == {
        name: number for name, number in wire.items() if number
    }


def test_refusals_are_those_of_the_contract():
    """One class for each reason, and no other."""
    mine = {each.reason for each in vars(errors).values() if isinstance(each, type) and issubclass(each, Refusal)}
    reasons = {name.removeprefix("ERROR_REASON_") for name, number in error_reason_pb2.ErrorReason.items() if number}
    assert reasons == mine - {Refusal.reason}
