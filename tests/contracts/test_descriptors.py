"""What every method, field and reason of the contract owes to those who call it."""

from __future__ import annotations

import importlib
import re
from collections import Counter
from enum import Enum
from types import ModuleType

import pytest

from mesh import refusals, topology
from mesh.contract import AccessKind, Idempotency, Method
from mesh.refusals import Refusal
from svc_auth.privacy.rules import ErasureState
from svc_bulk.operation.rules import State as OperationState
from svc_catalog.price.store import PriceSource
from svc_inventory.inventory.rules import MovementKind
from svc_notify.channels.interface import ChannelKind
from svc_notify.notification.rules import NotificationStatus
from svc_order.order.rules import OrderStatus
from svc_payment.payment.rules import Status as PaymentStatus
from svc_payment.providers.interface import LoggedKind
from svc_payment.reconciliation.rules import DifferenceKind
from svc_payment.refund.rules import RefundStatus
from tests.contracts.reading import (
    DOMAINS,
    ROOT,
    all_that_is_said_of,
    comments,
    messages_inside,
    methods,
    reasons,
    unlimited_fields,
)
from tests.harness import titan_contract
from titan.auth.v1 import privacy_pb2
from titan.bulk.v1 import operation_pb2
from titan.catalog.v1 import price_pb2
from titan.inventory.v1 import stock_pb2
from titan.notify.v1 import notification_pb2
from titan.order.v1 import order_pb2
from titan.payment.v1 import payment_pb2, refund_pb2, settlement_pb2

NO_REFUSALS = "no refusals of its own"
REASON = re.compile(r"\b[A-Z]{2,}(?:_[A-Z]+)+\b")
TOPOLOGY = topology.load(ROOT / "deploy" / "topology.toml")

LIMITED_ELSEWHERE = {
    "google.api.HttpBody.content_type": "a header: the edge bounds all headers",
    "google.api.HttpBody.data": "the raw body of a notice: the edge and the server bound a message's size",
    "google.api.HttpBody.extensions": "never read",
}

KEYED_OTHERWISE = {
    "titan.payment.v1.PaymentService.HandleWebhook": "keyed by the provider's own notice",
    "titan.inventory.v1.WarehouseService.CreateWarehouse": "moves nothing; the code is its key",
    "titan.order.v1.OrderService.EraseUser": "moves nothing; the user is the key",
    "titan.payment.v1.SettlementService.SettleDay": "moves nothing; provider and day are its key",
    "titan.payment.v1.SettlementService.ResettleDay": "moves nothing; provider and day are its key",
    "titan.payment.v1.PayoutService.CreatePayout": "seller, currency and period are its key",
    "titan.payment.v1.PayoutService.SettlePayout": "the payout is its key, and it ends once",
}
MOVES_MONEY_OR_STOCK = ("titan.payment.v1.", "titan.inventory.v1.", "titan.order.v1.")
IDS = {"request_id", "order_id", "order_ids", "payment_id", "refund_id", "restock_id"}


def ids_of(found: list[Method]) -> list[str]:
    return [method.full_name for method in found]


def test_the_contract_can_be_served():
    """Every method has an access rule and an idempotency level, and no two answer one route."""
    assert [] == titan_contract().problems()


def test_topology_and_descriptors_name_the_same_services():
    """No row without a service, no service without a home."""
    assert set(titan_contract().services) == set(TOPOLOGY.services)


def test_the_edge_may_call_exactly_what_a_person_may_call():
    """A service with nothing but service methods is closed to the edge, and every other is open."""
    outward = {service.name for service in titan_contract().public_services()}

    assert outward == set(TOPOLOGY.callable_by("edge_http"))


@pytest.mark.parametrize("method", methods(), ids=ids_of(methods()))
def test_the_comment_says_how_a_method_refuses(method: Method):
    """A caller reads there which reasons to expect; each stands in an enum of the contract."""
    comment = comments()[method.full_name]
    named = set(REASON.findall(comment))
    known = frozenset[str]().union(*(reasons(domain) for domain in (*DOMAINS, "type")))

    assert NO_REFUSALS in comment or re.search(r"(Fails with|Results carry) [A-Z]", comment), comment
    assert named <= known, f"no enum has {', '.join(sorted(named - known))}"
    if NO_REFUSALS in comment:
        assert not named


KEYED = [method for method in methods() if method.request_id_required]


@pytest.mark.parametrize("method", KEYED, ids=ids_of(KEYED))
def test_the_comment_of_a_method_with_a_key_says_how_the_key_refuses(method: Method):
    """The runtime refuses a call without the key, and the key's second use for something else."""
    assert {"IDEMPOTENCY_KEY_REQUIRED", "IDEMPOTENCY_KEY_REUSED"} <= set(REASON.findall(comments()[method.full_name]))


def test_every_reason_of_a_domain_is_promised_by_a_method():
    """A reason that no comment names is dead, or a comment is silent about it."""
    promised = {reason for comment in comments().values() for reason in REASON.findall(comment)}

    assert [] == sorted(reason for domain in DOMAINS for reason in reasons(domain) - promised)


def refusals_of(module: ModuleType) -> Counter[str]:
    """Return how many classes of a module own each reason."""
    classes = [each for each in vars(module).values() if isinstance(each, type) and issubclass(each, Refusal)]
    own = [each for each in classes if each.__module__ == module.__name__ and each is not Refusal]
    return Counter(each.reason for each in own)


@pytest.mark.parametrize("domain", [*DOMAINS, "type"])
def test_each_reason_belongs_to_one_refusal_and_back(domain: str):
    """The enum and the classes are two spellings of one list; the runtime owns those of titan.type."""
    if domain == "type":
        module = refusals
    elif reasons(domain) or (ROOT / f"svc_{domain}" / "errors.py").exists():
        module = importlib.import_module(f"svc_{domain}.errors")
    else:
        return  # a domain may have nothing to refuse
    owners = refusals_of(module)

    assert reasons(domain) == set(owners)
    assert not [reason for reason, count in owners.items() if count > 1]


def test_a_reason_belongs_to_one_domain():
    """A client that reads a reason knows whose it is."""
    count = Counter(reason for domain in (*DOMAINS, "type") for reason in reasons(domain))

    assert not [reason for reason, times in count.items() if times > 1]


def wire_names(enum_type: type, prefix: str) -> set[str]:
    """Return the names of a proto enum without their prefix and without the unspecified one."""
    return {name.removeprefix(prefix) for name in enum_type.keys()} - {"UNSPECIFIED"}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("twin", "wire", "prefix", "inside_only", "wire_only"),
    [
        (OrderStatus, order_pb2.OrderStatus, "ORDER_STATUS_", set(), set()),
        (RefundStatus, refund_pb2.RefundStatus, "REFUND_STATUS_", set(), set()),
        (
            DifferenceKind,
            settlement_pb2.SettlementDifferenceKind,
            "SETTLEMENT_DIFFERENCE_KIND_",
            set(),
            set(),
        ),
        (PriceSource, price_pb2.PriceSource, "PRICE_SOURCE_", set(), set()),
        (LoggedKind, settlement_pb2.SettlementMovementKind, "SETTLEMENT_MOVEMENT_KIND_", set(), set()),
        (MovementKind, stock_pb2.StockMovementKind, "STOCK_MOVEMENT_KIND_", set(), set()),
        (ChannelKind, notification_pb2.NotificationChannel, "NOTIFICATION_CHANNEL_", set(), set()),
        (OperationState, operation_pb2.OperationState, "OPERATION_STATE_", set(), set()),
        (NotificationStatus, notification_pb2.NotificationStatus, "NOTIFICATION_STATUS_", set(), set()),
        (ErasureState, privacy_pb2.ErasureState, "ERASURE_STATE_", set(), set()),
        # A payment that is being taken or let go is shown as what it was decided to be; how much went back is a sum.
        (
            PaymentStatus,
            payment_pb2.PaymentStatus,
            "PAYMENT_STATUS_",
            {"CAPTURING", "VOIDING"},
            {"PARTIALLY_REFUNDED", "REFUNDED"},
        ),
    ],
)
def test_an_enum_and_its_twin_say_the_same(
    twin: type[Enum], wire: type, prefix: str, inside_only: set[str], wire_only: set[str]
):
    """A value that one of them lacks would be lost on the way."""
    assert {each.name for each in twin} - inside_only == wire_names(wire, prefix) - wire_only


def test_movement_kinds_have_the_numbers_of_the_contract():
    """The journal stores the number."""
    for kind in MovementKind:
        assert kind.value == stock_pb2.StockMovementKind.Value(f"STOCK_MOVEMENT_KIND_{kind.name}")


@pytest.mark.parametrize("method", methods(), ids=ids_of(methods()))
def test_every_field_of_a_request_has_a_limit(method: Method):
    """Texts, lists and numbers end somewhere, before a handler sees them."""
    found = set(unlimited_fields(method.request_class.DESCRIPTOR))

    assert [] == sorted(found - set(LIMITED_ELSEWHERE))


def test_no_exception_outlives_its_field():
    """What is excused above still exists and still needs it."""
    unlimited = {name for method in methods() for name in unlimited_fields(method.request_class.DESCRIPTOR)}

    assert set(LIMITED_ELSEWHERE) <= unlimited
    assert set(KEYED_OTHERWISE) <= {method.full_name for method in methods()}


LISTS = [method for method in methods() if method.name.startswith(("List", "Search"))]


@pytest.mark.parametrize("method", LISTS, ids=ids_of(LISTS))
def test_a_list_has_pages_or_says_its_maximum(method: Method):
    """No answer grows for ever."""
    asks = set(method.request_class.DESCRIPTOR.fields_by_name)
    answers = set(method.response_class.DESCRIPTOR.fields_by_name)
    pages = {"page_size", "page_token"} <= asks and "next_page_token" in answers

    assert pages or re.search(r"at most \d", all_that_is_said_of(method))


@pytest.mark.parametrize("method", LISTS, ids=ids_of(LISTS))
def test_a_list_changes_nothing(method: Method):
    """So that it may be asked again at any time."""
    assert Idempotency.NO_SIDE_EFFECTS is method.idempotency


MOVERS = [method for method in methods() if method.is_mutation and method.service.startswith(MOVES_MONEY_OR_STOCK)]


@pytest.mark.parametrize("method", MOVERS, ids=ids_of(MOVERS))
def test_what_moves_money_or_stock_has_a_key(method: Method):
    """Asked twice it moves once: by an idempotency key that is demanded, or by ids that repeat with the call."""
    if method.full_name in KEYED_OTHERWISE:
        return
    inside = messages_inside(method.request_class.DESCRIPTOR).values()
    found = IDS & {field.name for message in inside for field in message.fields}

    assert Idempotency.IDEMPOTENT is method.idempotency
    assert found
    if method.has_request_id:
        assert method.request_id_required


def test_a_person_never_names_whom_a_call_is_about():
    """The user of a customer's call is the one in the token; only service and role methods name users."""
    for method in methods():
        if method.access is not None and method.access.kind in (AccessKind.CUSTOMER, AccessKind.PUBLIC):
            assert "user_id" not in method.request_class.DESCRIPTOR.fields_by_name, method.full_name


def test_the_reader_of_limits_sees_a_field_without_one():
    """Answers have no limits on their fields, so a message of an answer is a fair sample."""
    found = set(unlimited_fields(order_pb2.Order.DESCRIPTOR))

    assert {"titan.order.v1.Order.order_id", "titan.order.v1.Order.lines"} <= found
