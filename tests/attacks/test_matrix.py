"""The access matrix covers every RPC there is; it is swept over a live mesh by `make attack`."""

from __future__ import annotations

from dataclasses import replace

from control.topology_file import POLICIES, TOPOLOGY
from mesh import topology
from mesh.policies import Policies
from mesh.topology import EDGE
from tests.attacks import matrix
from tests.attacks.matrix import ADMITTED, DEVELOPER, IDENTITIES, OWNERSHIP
from tests.contracts.reading import methods
from tests.harness import titan_contract, titan_policies

MESH = topology.load(TOPOLOGY)


def test_every_rpc_has_its_rows() -> None:
    assert [] == list(matrix.problems(methods()))


def test_the_matrix_says_of_roles_what_the_policies_say() -> None:
    """A role that a policy gives more, or gives it on a condition, has to have its rows here."""
    assert [] == list(matrix.unlike(methods(), titan_policies()))


def test_a_policy_without_its_rows_is_noticed() -> None:
    """One that lets the warehouse read orders under a ticket, and one that lets it without."""
    get = next(method for method in methods() if method.name == "GetOrder")
    for condition in ("when { context has ticket_id }", ""):
        more = f'permit (principal in Role::"warehouse", action == Action::"{get.full_name}", resource) {condition};'
        widened = Policies(POLICIES.read_text() + more, titan_contract())

        (problem,) = matrix.unlike(methods(), widened)
        assert get.full_name in problem and "warehouse" in problem


def test_a_new_rpc_without_a_row_is_noticed() -> None:
    """One for customers, of whose objects nobody has said anything."""
    known = methods()
    get = next(method for method in known if method.name == "GetOrder")
    added = replace(get, name="ExportOrder", path=f"/{get.service}/ExportOrder")

    (problem,) = matrix.problems([*known, added])
    assert added.full_name in problem


def test_a_row_that_outlived_its_rpc_is_noticed() -> None:
    remaining = [method for method in methods() if method.name != "GetWallet"]

    (problem,) = matrix.problems(remaining)
    assert "WalletService.GetWallet" in problem


def test_an_object_that_a_request_begins_to_name_is_noticed() -> None:
    """A request that may name a payment is not about its caller alone."""
    known = methods()
    wallet = next(method for method in known if method.name == "GetWallet")
    payment = next(method for method in known if method.name == "GetPayment")
    changed = replace(wallet, request_class=payment.request_class)

    (problem,) = matrix.problems([changed if method is wallet else method for method in known])
    assert "payment_id" in problem


def test_every_rpc_admits_somebody_and_refuses_somebody() -> None:
    """A row of one colour proves nothing; what is public is refused to bad tokens."""
    certificates = matrix.certificates(MESH)
    for method in methods():
        host = MESH.host_of(method.service).name
        at_edge = {matrix.due_at_edge(method, who) for who in IDENTITIES}
        at_port = {matrix.due_at_port(MESH, host, caller, method) for caller in certificates}
        assert len(at_edge) > 1, method.full_name
        assert "PERMISSION_DENIED" in at_port and len(at_port) > 1, method.full_name
        assert ADMITTED in at_edge | at_port, method.full_name


def test_strangers_are_told_that_there_is_nothing() -> None:
    """Somebody else's object is never forbidden: it is not there."""
    for name, owned in OWNERSHIP.items():
        assert owned is None or owned.hidden.endswith("_NOT_FOUND") or not owned.hidden, name


def test_whoever_speaks_for_people_is_granted_no_method_between_packages() -> None:
    """The mesh refuses it there anyway; a stolen certificate should not get as far as that."""
    between = [method for method in methods() if matrix.due_at_edge(method, IDENTITIES[0]) == "NOT_IMPLEMENTED"]

    assert between
    assert [] == [m.full_name for m in between if matrix.granted(MESH, matrix.EDGE_PACKAGE, m)]
    assert [] == [m.full_name for m in between if matrix.granted(MESH, DEVELOPER, m)]


def test_the_envoy_before_all_may_ask_how_full_buckets_are_and_nothing_else() -> None:
    """Its certificate is the one that lies nearest to the world."""
    granted = [method.name for method in methods() if matrix.granted(MESH, EDGE, method)]

    assert ["ShouldRateLimit"] == granted
