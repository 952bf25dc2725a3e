"""The access matrix: every RPC against every identity, and against objects of somebody else. What is due, as data.

All of it comes from the descriptors and the topology, so a new RPC has its rows at once; but whose objects a customer's
RPC is about nobody can read there, and `OWNERSHIP` says it. An RPC of which it says nothing fails the build.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mesh.contract import ROLES, TICKET_FIELD, AccessKind, Method
from mesh.policies import Policies
from mesh.topology import EDGE, EVERY_OUTWARD_METHOD, Topology

ADMITTED = "admitted"
"""Whatever the answer, it is none of `DENIALS`: the caller got as far as a look at the request."""

TICKET_REQUIRED = "TICKET_REQUIRED"
SECOND_FACTOR_REQUIRED = "SECOND_FACTOR_REQUIRED"
DENIALS = frozenset(
    {
        "UNAUTHENTICATED",
        "TOKEN_EXPIRED",
        "TOKEN_INVALID",
        "SESSION_REVOKED",
        "ACCESS_DENIED",
        TICKET_REQUIRED,
        SECOND_FACTOR_REQUIRED,
    }
)
SIGN_IN_AGAIN = "RECENT_SIGN_IN_REQUIRED"
EDGE_PACKAGE = "edge_http"
DEVELOPER = "developer"


# By user, at the edge


@dataclass(frozen=True)
class Identity:
    """Who calls the edge. `roles` is None for nobody; `denied` is the reason that a token of theirs always gets.

    `withheld` are roles that wait for a second factor.
    """

    name: str
    roles: frozenset[str] | None
    denied: str = ""
    withheld: frozenset[str] = frozenset()


IDENTITIES = (
    Identity("nobody", None),
    Identity("guest", frozenset({"guest"})),
    Identity("customer", frozenset({"customer"})),
    *(Identity(role, frozenset({"customer", role})) for role in sorted(ROLES)),
    Identity("house without second factor", frozenset({"customer"}), withheld=ROLES - {"seller"}),
    Identity("expired token", frozenset({"customer", *ROLES}), "TOKEN_EXPIRED"),
    Identity("revoked session", frozenset({"customer", *ROLES}), "SESSION_REVOKED"),
    Identity("another cell", frozenset({"customer", *ROLES}), "TOKEN_INVALID"),
)


SUPPORT = frozenset({"support"})

UNDER_TICKET: dict[str, frozenset[str]] = {
    "titan.auth.v1.PrivacyService.EraseUser": SUPPORT,
    "titan.auth.v1.PrivacyService.GetErasure": SUPPORT,
    "titan.notify.v1.NotificationService.ListNotifications": SUPPORT,
}
"""The RPCs for roles that some of these may call under a ticket alone."""


def due_at_edge(method: Method, who: Identity, *, ticket: bool = False) -> str:
    """Return what becomes of a call from outside: admitted, or the reason of the refusal."""
    assert method.access is not None
    if method.access.kind is AccessKind.SERVICE:
        # Envoy reads tokens before it looks for a route, and knows nothing of sessions and cells.
        return who.denied if who.denied == "TOKEN_EXPIRED" else "NOT_IMPLEMENTED"
    if who.denied:
        return who.denied
    if method.access.kind is AccessKind.PUBLIC:
        return ADMITTED
    if who.roles is None:
        return "UNAUTHENTICATED"
    if method.access.kind is AccessKind.CUSTOMER:
        return ADMITTED
    admitted = who.roles & method.access.roles
    if not admitted:
        return SECOND_FACTOR_REQUIRED if who.withheld & method.access.roles else "ACCESS_DENIED"
    return ADMITTED if ticket or admitted - UNDER_TICKET.get(method.full_name, frozenset()) else TICKET_REQUIRED


# By certificate, at the gRPC port of each package


def certificates(topology: Topology) -> tuple[str, ...]:
    """Return everybody whom the authority gives a certificate that a gRPC port knows."""
    return (*topology.packages, EDGE, DEVELOPER)


def granted(topology: Topology, caller: str, method: Method) -> bool:
    """Return whether the topology lets a certificate call a method."""
    assert method.access is not None
    outward = method.access.kind is not AccessKind.SERVICE
    if caller == DEVELOPER:
        return outward and topology.may_call(EDGE_PACKAGE, method.service)
    if not topology.may_call(caller, method.service):
        return False
    names = topology.methods_of(caller, method.service)
    return names is None or method.name in names or (outward and EVERY_OUTWARD_METHOD in names)


def due_at_port(topology: Topology, package: str, caller: str, method: Method) -> str:
    """Return what becomes of a call without a user at a package's port: `PERMISSION_DENIED` is the door's own word."""
    assert method.access is not None
    if topology.host_of(method.service).name != package or not granted(topology, caller, method):
        return "PERMISSION_DENIED"
    match method.access.kind:
        case AccessKind.PUBLIC:
            return ADMITTED
        case AccessKind.SERVICE:
            return ADMITTED
    return "UNAUTHENTICATED"


# By owner


@dataclass(frozen=True)
class Owned:
    """An RPC that names an object. A stranger reads `hidden`, as if there were none.

    Attributes:
        field: The field of the request that names it, which is a field of `tests.attacks.scene.Victims` too.
        hidden: The reason that strangers get; empty where they are told nothing at all, and nothing happens.
        roles: Whoever has one of these may touch anybody's.
        under_ticket: And whoever has one of these, with a ticket; without one they hear so, whether it is there or not.
        recent: Whoever did not sign in a moment ago is sent to do so, and told no more.
    """

    field: str
    hidden: str
    roles: frozenset[str] = frozenset()
    under_ticket: frozenset[str] = frozenset()
    recent: bool = False


OWN_ALONE = None
"""The RPC names no object: it is about the caller, whom the token names."""

OF_THE_SHOP = Owned("order_id", "ORDER_NOT_FOUND", frozenset({"admin", "finance", "importer"}), SUPPORT)
"""An order that these read and refund, and support under a ticket."""

OWNERSHIP: dict[str, Owned | None] = {
    "titan.auth.v1.AuthService.DeleteSession": Owned("session_id", "SESSION_NOT_FOUND"),
    "titan.auth.v1.AuthService.EndOtherSessions": OWN_ALONE,
    "titan.auth.v1.AuthService.ListSessions": OWN_ALONE,
    "titan.auth.v1.FederationService.CompleteIdentityLink": OWN_ALONE,
    "titan.auth.v1.FederationService.DeleteFederatedIdentity": Owned("identity_id", "IDENTITY_NOT_FOUND", recent=True),
    "titan.auth.v1.FederationService.ListFederatedIdentities": OWN_ALONE,
    "titan.auth.v1.FederationService.StartIdentityLink": OWN_ALONE,
    "titan.auth.v1.LinkService.RequestEmailVerification": OWN_ALONE,
    "titan.auth.v1.PasskeyService.CreatePasskey": OWN_ALONE,
    "titan.auth.v1.PasskeyService.DeletePasskey": Owned("passkey_id", "PASSKEY_NOT_FOUND", recent=True),
    "titan.auth.v1.PasskeyService.ListPasskeys": OWN_ALONE,
    "titan.auth.v1.PasskeyService.StartPasskeyRegistration": OWN_ALONE,
    "titan.auth.v1.PrivacyService.EraseMe": OWN_ALONE,
    "titan.auth.v1.PrivacyService.ExportMyData": OWN_ALONE,
    "titan.auth.v1.SecondFactorService.ConfirmSecondFactor": OWN_ALONE,
    "titan.auth.v1.SecondFactorService.DisableSecondFactor": OWN_ALONE,
    "titan.auth.v1.SecondFactorService.EnrolSecondFactor": OWN_ALONE,
    "titan.auth.v1.SecondFactorService.GetSecondFactor": OWN_ALONE,
    "titan.auth.v1.UserService.ChangePassword": OWN_ALONE,
    "titan.auth.v1.UserService.CreateAddress": OWN_ALONE,
    "titan.auth.v1.UserService.DeleteAddress": Owned("address_id", ""),
    "titan.auth.v1.UserService.GetMe": OWN_ALONE,
    "titan.auth.v1.UserService.ListAddresses": OWN_ALONE,
    "titan.auth.v1.UserService.UpdateMe": OWN_ALONE,
    "titan.cart.v1.CartService.AddItem": OWN_ALONE,
    "titan.cart.v1.CartService.GetCart": OWN_ALONE,
    "titan.cart.v1.CartService.RemoveItem": OWN_ALONE,
    "titan.cart.v1.CartService.UpdateItem": OWN_ALONE,
    "titan.order.v1.CheckoutService.PlaceOrder": OWN_ALONE,
    "titan.order.v1.CheckoutService.QuoteOrder": OWN_ALONE,
    "titan.order.v1.InvoiceService.ListOrderCreditNotes": OF_THE_SHOP,
    "titan.order.v1.InvoiceService.ListOrderInvoices": OF_THE_SHOP,
    "titan.order.v1.OrderService.CancelOrder": Owned("order_id", "ORDER_NOT_FOUND"),
    "titan.order.v1.OrderService.CreateRefund": OF_THE_SHOP,
    "titan.order.v1.OrderService.GetOrder": Owned("order_id", "ORDER_NOT_FOUND", under_ticket=SUPPORT),
    "titan.order.v1.OrderService.GetOrderAsOf": OF_THE_SHOP,
    "titan.order.v1.OrderService.ListOrderEvents": Owned("order_id", "ORDER_NOT_FOUND", under_ticket=SUPPORT),
    "titan.order.v1.OrderService.ListOrders": OWN_ALONE,
    "titan.order.v1.OrderService.WatchOrder": Owned("order_id", "ORDER_NOT_FOUND"),
    "titan.payment.v1.PaymentService.GetPayment": Owned("payment_id", "PAYMENT_NOT_FOUND"),
    "titan.payment.v1.WalletService.GetWallet": OWN_ALONE,
    "titan.payment.v1.WalletService.ListWalletTransfers": OWN_ALONE,
    "titan.payment.v1.WalletService.TopUpWallet": OWN_ALONE,
}

SELLERS: dict[str, str] = {
    "titan.order.v1.InvoiceService.ListCreditNotes": "",
    "titan.order.v1.InvoiceService.ListInvoices": "",
    "titan.order.v1.OrderService.ListSellerOrders": "",
    "titan.payment.v1.PayoutService.ListPayoutLines": "PAYOUT_NOT_FOUND",
    "titan.payment.v1.PayoutService.ListPayouts": "ACCOUNT_NOT_FOUND",
    "titan.payment.v1.SplitService.GetSellerBalance": "ACCOUNT_NOT_FOUND",
    "titan.payment.v1.SplitService.ListSellerShares": "ACCOUNT_NOT_FOUND",
}
"""The RPCs about a seller that sellers may call, and the reason that another seller gets; empty for an empty page."""

STRANGERS = tuple(who for who in IDENTITIES if who.roles is not None and not who.denied)


def due_of_stranger(owned: Owned, who: Identity, *, ticket: bool = False) -> str:
    """Return what somebody reads who names another's object, and whose session nobody has begun."""
    assert who.roles is not None
    if owned.recent:
        return SIGN_IN_AGAIN
    if who.roles & owned.roles or not owned.hidden:
        return ADMITTED
    if who.roles & owned.under_ticket:
        return ADMITTED if ticket else TICKET_REQUIRED
    return SECOND_FACTOR_REQUIRED if who.withheld & (owned.roles | owned.under_ticket) else owned.hidden


# Completeness


def problems(methods: Iterable[Method]) -> Iterator[str]:
    """Yield what the matrix lacks, or says of RPCs that there are not."""
    known = {method.full_name: method for method in methods}
    of_customers = {
        name for name, method in known.items() if method.access and method.access.kind is AccessKind.CUSTOMER
    }
    for name in sorted(of_customers - set(OWNERSHIP)):
        yield f"{name}: whose objects is it about? OWNERSHIP in tests/attacks/matrix.py says nothing of it"
    for name in sorted(set(OWNERSHIP) - of_customers):
        yield f"{name}: OWNERSHIP has a row for it, and it is no RPC for customers"
    for name in sorted(of_customers & set(OWNERSHIP)):
        owned = OWNERSHIP[name]
        fields = {field.name for field in known[name].request_class.DESCRIPTOR.fields}
        named = {field for field in fields if field.endswith("_id") and field not in ("request_id", TICKET_FIELD)}
        if named != ({owned.field} if owned else set()):
            yield f"{name}: its request names {sorted(named) or 'no object'}, and OWNERSHIP says otherwise"


def unlike(methods: Iterable[Method], policies: Policies) -> Iterator[str]:
    """Yield where the matrix and the policies differ about a role: who touches anybody's, and who on a condition."""
    for method in methods:
        name, grant = method.full_name, policies.grant(method.full_name)
        owned = OWNERSHIP.get(name)
        if owned is not None or name in OWNERSHIP:
            always = owned.roles if owned else frozenset()
            asking = owned.under_ticket if owned else frozenset()
        else:
            asking = UNDER_TICKET.get(name, frozenset()) | ({"seller"} if name in SELLERS else frozenset())
            always = grant.roles - asking
        if (always, asking) != (grant.always, grant.asking):
            yield f"{name}: policies have {sorted(grant.always)}, and on a condition {sorted(grant.asking)}"
        if asking - {"seller"} and not method.takes_ticket:
            yield f"{name}: its request has no {TICKET_FIELD}"
