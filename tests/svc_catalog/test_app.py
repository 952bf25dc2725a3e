"""What the catalogue hosts, and that its words are those of the contract."""

from __future__ import annotations

from types import SimpleNamespace

from mesh import topology
from mesh.refusals import Refusal
from mesh.seams import SystemClock, SystemIds
from svc_catalog import errors
from svc_catalog.app import build
from titan.catalog.v1 import error_reason_pb2


async def test_it_hosts_what_the_topology_says(db):
    """Each service, its housekeeping, and where there is a broker the relay and the reader of imported prices."""
    settings = SimpleNamespace(kafka="127.0.0.1:1", database_url="", database_password=None)
    mesh = topology.load("deploy/topology.toml")
    runtime = SimpleNamespace(
        package="svc_catalog", db=db, settings=settings, clock=SystemClock(), ids=SystemIds(), topology=mesh
    )
    hosted = await build(runtime)
    declared = mesh.packages["svc_catalog"].services
    assert set(declared) == set(hosted.servicers)
    assert 3 == len(hosted.background)


def test_refusals_are_those_of_the_contract():
    """One class for each reason, and no other."""
    mine = {each.reason for each in vars(errors).values() if isinstance(each, type) and issubclass(each, Refusal)}
    reasons = {name.removeprefix("ERROR_REASON_") for name, number in error_reason_pb2.ErrorReason.items() if number}
    assert reasons == mine - {Refusal.reason}
