"""Who calls whom: the source of the packages against the topology, both ways.

`CALLS` is the list to read. A call that is not in it, or that nobody makes any more, fails; each of them has a test
from its caller's side in `test_consumers.py`.
"""

from __future__ import annotations

from mesh import topology
from mesh.contract import AccessKind
from mesh.topology import EDGE, EVERY_OUTWARD_METHOD
from tests.contracts import test_consumers
from tests.contracts.calls import FOLLOWED_BY_THE_RUNTIME, Call, calls_of, calls_of_the_runtime, stub_names
from tests.contracts.reading import ROOT
from tests.harness import titan_contract

TOPOLOGY = topology.load(ROOT / "deploy" / "topology.toml")
DOMAINS = sorted(package for package in TOPOLOGY.packages if package.startswith("svc_"))

CALLS = {
    Call("svc_auth", "titan.cart.v1.CartService", "BatchCloseCarts"),
    Call("svc_auth", "titan.cart.v1.CartService", "BatchGetCarts"),
    Call("svc_auth", "titan.notify.v1.NotificationService", "EraseUser"),
    Call("svc_auth", "titan.notify.v1.NotificationService", "ListUserNotifications"),
    Call("svc_auth", "titan.order.v1.OrderService", "EraseUser"),
    Call("svc_auth", "titan.order.v1.OrderService", "ListUserOrders"),
    Call("svc_auth", "titan.payment.v1.WalletService", "GetUserStatement"),
    Call("svc_bulk", "titan.catalog.v1.ProductService", "BatchPutProducts"),
    Call("svc_bulk", "titan.catalog.v1.ProductService", "BatchSetPrices"),
    Call("svc_bulk", "titan.catalog.v1.ProductService", "ListAllProducts"),
    Call("svc_bulk", "titan.catalog.v1.SearchService", "DigestSearch"),
    Call("svc_bulk", "titan.catalog.v1.SearchService", "ReindexProducts"),
    Call("svc_bulk", "titan.inventory.v1.InventoryService", "BatchSetStock"),
    Call("svc_bulk", "titan.order.v1.SalesService", "ListImportedOrders"),
    Call("svc_bulk", "titan.order.v1.SalesService", "SumSales"),
    Call("svc_bulk", "titan.payment.v1.SettlementService", "ResettleDay"),
    Call("svc_cart", "titan.catalog.v1.ProductService", "BatchGetVariants"),
    Call("svc_notify", "titan.auth.v1.LinkService", "BatchGetLinks"),
    Call("svc_notify", "titan.auth.v1.UserService", "BatchGetContacts"),
    Call("svc_notify", "titan.order.v1.OrderService", "BatchGetReceipts"),
    Call("svc_order", "titan.cart.v1.CartService", "BatchCloseCarts"),
    Call("svc_order", "titan.cart.v1.CartService", "BatchGetCarts"),
    Call("svc_order", "titan.catalog.v1.ProductService", "BatchGetVariants"),
    Call("svc_order", "titan.inventory.v1.InventoryService", "BatchRelease"),
    Call("svc_order", "titan.inventory.v1.InventoryService", "BatchReserve"),
    Call("svc_order", "titan.inventory.v1.InventoryService", "BatchRestock"),
    Call("svc_order", "titan.inventory.v1.InventoryService", "BatchShip"),
    Call("svc_order", "titan.payment.v1.PaymentService", "BatchAuthorize"),
    Call("svc_order", "titan.payment.v1.PaymentService", "BatchCapture"),
    Call("svc_order", "titan.payment.v1.PaymentService", "BatchVoid"),
    Call("svc_order", "titan.payment.v1.RefundService", "BatchRefund"),
    Call("svc_order", "titan.payment.v1.SplitService", "BatchHoldShares"),
    Call("svc_order", "titan.payment.v1.SplitService", "BatchReleaseShares"),
}
"""Every method that one package calls in another; edge_http calls what its routes say."""

CALL_OF_ENVOY = Call(EDGE, "envoy.service.ratelimit.v3.RateLimitService", "ShouldRateLimit")
"""What the edge's Envoy asks for itself; `control/edge_limits.py` says on which routes."""


def test_the_packages_make_exactly_the_calls_of_the_list():
    """A new call between packages is a decision, and so is one that ends."""
    made = set().union(*(calls_of(package) for package in DOMAINS))

    assert sorted(map(str, CALLS)) == sorted(map(str, made))


def test_no_package_reaches_a_stub_in_another_way():
    """What the list is made from sees every stub class that a package names."""
    for package in DOMAINS:
        services = {call.service.rpartition(".")[2] + "Stub" for call in calls_of(package)}
        assert services == stub_names(package), package


def test_the_topology_allows_exactly_these_calls():
    """Method by method: what it does not name is refused, and what nobody needs is for an attacker."""
    used = {*CALLS, CALL_OF_ENVOY, *calls_of_the_runtime(TOPOLOGY)}
    used -= {call for call in used if call.caller == "edge_http" and is_outward(call)}
    used |= {Call("edge_http", service.name, EVERY_OUTWARD_METHOD) for service in titan_contract().public_services()}
    granted = {
        Call(caller, service, method)
        for service in TOPOLOGY.services
        for caller in TOPOLOGY.callers_of(service)
        for method in TOPOLOGY.methods_of(caller, service) or ("every method",)
    }

    assert sorted(map(str, used)) == sorted(map(str, granted))


def is_outward(call: Call) -> bool:
    """Tell whether the world may make a call, and so the edge for it."""
    access = titan_contract().methods[f"/{call.service}/{call.method}"].access
    return access is not None and access.kind is not AccessKind.SERVICE


def test_packages_call_only_service_methods():
    """They carry no user's token, so any other method would refuse them."""
    for call in (*CALLS, CALL_OF_ENVOY):
        method = titan_contract().methods[f"/{call.service}/{call.method}"]
        assert method.access is not None and AccessKind.SERVICE is method.access.kind, call


def test_every_call_has_a_test_from_its_caller():
    """Each test says which calls it stands for, and the runtime's following of AuthService counts for every package."""
    wanted = {(call.caller, call.method) for call in (*CALLS, CALL_OF_ENVOY)}
    wanted |= {(test_consumers.RUNTIME, method) for method in FOLLOWED_BY_THE_RUNTIME}

    assert sorted(wanted) == sorted(test_consumers.covered())
