"""The topology is read strictly: a slip in it stops the start instead of opening or closing a door."""

from __future__ import annotations

from pathlib import Path

import pytest

from mesh import topology
from mesh.topology import EDGE, Bucket, TopologyError

SHIPPED = Path(__file__).parents[2] / "deploy" / "topology.toml"

SMALL = """
trust_domain = "titan.local"
cell = "local"
tokens = { issuer = "i", audience = "a", max_lifetime_seconds = 60 }
edge = { allowed_origins = [] }
[limits.default]
address = { burst = 2, per_second = 1 }
user = { burst = 2, per_second = 1 }
sessions = { burst = 2, per_second = 1 }
payments = { burst = 2, per_second = 0.25 }
body_bytes = { burst = 2, per_second = 1 }
shared = ["payments"]
[packages.svc_a]
services = ["titan.a.v1.AService"]
needs = ["postgres"]
callers = { "titan.a.v1.AService" = ["svc_b"] }
[packages.svc_b]
services = []
needs = []
"""


@pytest.fixture
def load(tmp_path):
    """Read a text as if it were the topology file."""

    def read(text: str) -> topology.Topology:
        path = tmp_path / "topology.toml"
        path.write_text(text)
        return topology.load(path)

    return read


def test_the_shipped_topology_loads_and_hosts_every_service_once():
    """The file in the repository is sound, and its order gives the ports."""
    shipped = topology.load(SHIPPED)

    assert "svc_order" == shipped.host_of("titan.order.v1.OrderService").name
    assert len(shipped.services) == len(set(shipped.services))
    assert list(range(len(shipped.packages))) == [p.index for p in shipped.packages.values()]


def test_every_package_may_follow_the_revocations_and_nobody_else_reads_users():
    """AuthService is open to all other packages; of UserService the one that writes letters reads addresses alone."""
    shipped = topology.load(SHIPPED)

    verifying_no_tokens = {"svc_limits"}
    following = set(shipped.callers_of("titan.auth.v1.AuthService"))
    assert set(shipped.packages) - {"svc_auth"} - verifying_no_tokens == following
    assert ("edge_http", "svc_notify") == shipped.callers_of("titan.auth.v1.UserService")
    assert ("BatchGetContacts",) == shipped.methods_of("svc_notify", "titan.auth.v1.UserService")
    assert shipped.may_call("svc_notify", "titan.order.v1.OrderService")
    assert not shipped.may_call("svc_cart", "titan.payment.v1.WalletService")
    outward = set(shipped.callable_by("edge_http"))
    inward = {"titan.payment.v1.RefundService", "titan.order.v1.SalesService"}  # packages alone refund, and list sales
    assert set(shipped.services) - outward - set(shipped.callable_by(EDGE)) == inward


def test_the_edge_is_a_caller_and_no_package():
    """It asks how full the shared buckets are, and nothing else."""
    shipped = topology.load(SHIPPED)

    assert EDGE not in shipped.packages
    (service,) = shipped.callable_by(EDGE)
    assert ("ShouldRateLimit",) == shipped.methods_of(EDGE, service)
    assert (EDGE,) == shipped.callers_of(service)


def test_a_shared_bucket_is_found_by_its_name(load):
    """Those of which every edge has its own are not."""
    limits = load(SMALL).limits["default"]

    assert Bucket(2, 0.25) == limits.shared_bucket("payments")
    assert limits.shared_bucket("sessions") is None
    assert limits.shared_bucket("shared") is None


def test_a_caller_may_be_held_to_methods(load):
    """A list of packages lets each of them call all of a service; a table says what."""
    small = load(SMALL)
    held = load(SMALL.replace('["svc_b"]', '{ svc_b = ["Get", "*"] }'))

    assert small.methods_of("svc_b", "titan.a.v1.AService") is None
    assert ("svc_b",) == held.callers_of("titan.a.v1.AService")
    assert ("Get", "*") == held.methods_of("svc_b", "titan.a.v1.AService")


def test_identities_are_spiffe_ids_of_the_trust_domain(load):
    """The certificate of a package names the package and nothing else."""
    small = load(SMALL)

    assert "spiffe://titan.local/svc/svc_a" == small.spiffe_id("svc_a")
    assert "spiffe://titan.local/dev/developer" == small.developer_id


def test_check_against_passes_when_both_sides_agree(load):
    """The contract and the topology know the same services."""
    load(SMALL).check_against({"titan.a.v1.AService"})


def test_check_against_refuses_a_row_without_a_descriptor(load):
    """A misspelt service would never be reachable, so the start stops."""
    with pytest.raises(TopologyError, match=r"titan\.a\.v1\.AService.*no descriptor"):
        load(SMALL).check_against(set())


def test_check_against_refuses_a_service_that_nobody_hosts(load):
    """A contract without a host would be a promise that nobody keeps."""
    with pytest.raises(TopologyError, match=r"titan\.b\.v1\.BService.*hosts"):
        load(SMALL).check_against({"titan.a.v1.AService", "titan.b.v1.BService"})


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('["svc_b"]', '["svc_c"]', "caller 'svc_c', and there is no such package"),
        ('["svc_b"]', '["svc_b", "svc_b"]', "says a name twice"),
        ('{ "titan.a.v1.AService" = ["svc_b"] }', "{}", "does not say who may call"),
        ('{ "titan.a.v1.AService" =', '{ "titan.x.v1.X" = [], "titan.a.v1.AService" =', "does not host"),
        ("services = []", 'services = ["titan.a.v1.AService"]\ncallers = { "titan.a.v1.AService" = [] }', "hosted by"),
        ('needs = ["postgres"]', 'needs = ["oracle"]', "oracle"),
        ('needs = ["postgres"]\n', "", "has no 'needs'"),
        ('cell = "local"\n', "", "has no 'cell'"),
        ('cell = "local"', 'cell = "local"\ncolour = 1', "unknown key 'colour'"),
        ("[limits.default]", "[limits.other]", "limits.default"),
        ("user = { burst = 2", "user = { burst = 0", "nobody through"),
        ("user = { burst = 2, per_second = 1", "user = { burst = 2, per_second = 0.5", "user per_second is no whole"),
        ("per_second = 0.25", "per_second = 1.5", "payments per_second is no whole number"),
        ("per_second = 0.25", "per_second = nan", "payments per_second is no whole number"),
        ('shared = ["payments"]', "shared = []", "payments per_second is no whole number"),
        ('shared = ["payments"]', 'shared = ["user"]', "shared holds 'user'; only sessions, payments"),
        ("[packages.svc_b]", "[packages.edge]", "a package is called edge"),
        ("needs = []", "needs = []\nreplicas = 0", "replicas"),
        ('cell = "local"', "cell = ", "is not TOML"),
    ],
)
def test_a_slip_is_named(load, old, new, message):
    """Each contradiction stops the load with a text that names the place."""
    assert old in SMALL
    with pytest.raises(TopologyError, match="(?s)" + message):
        load(SMALL.replace(old, new, 1))


def test_a_missing_file_is_named(tmp_path):
    """The path is in the message."""
    with pytest.raises(TopologyError, match=r"nowhere\.toml"):
        topology.load(tmp_path / "nowhere.toml")
