"""The shipped policies, decided by their engine; and what stops a start. No server, no database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from control.topology_file import POLICIES
from mesh import policies
from mesh.contract import ROLES, AccessKind
from mesh.policies import AMOUNT, Policies, PolicyProblem
from tests.harness import titan_contract, titan_policies

SHIPPED = POLICIES.read_text()
ORDERS, INVOICES = "titan.order.v1.OrderService", "titan.order.v1.InvoiceService"
PRIVACY, MESSAGES = "titan.auth.v1.PrivacyService", "titan.notify.v1.NotificationService"
REFUND = f"{ORDERS}.CreateRefund"
TICKET = {"ticket_id": "SUP-4711"}
METHODS = {method.full_name: method for method in titan_contract().methods.values()}
OF_CUSTOMERS = [name for name, each in METHODS.items() if each.access and each.access.kind is AccessKind.CUSTOMER]
FOR_ROLES = [name for name, each in METHODS.items() if each.access and each.access.kind is AccessKind.ROLES]


def permits(action: str, *roles: str, own: bool = False, **context: Any) -> bool:
    return titan_policies().permits(action, frozenset(roles), own=own, context=context)


def amount(minor: int, *roles: str, currency: str = "GBP", own: bool = False) -> bool:
    return permits(REFUND + AMOUNT, *roles, own=own, currency=currency, amount_minor=minor)


# What is decided when a process starts


def test_only_these_decisions_wait_for_the_call() -> None:
    """Everything else was decided before the first call came, and costs a look at a set."""
    asking = {(role, name) for name in (*METHODS, REFUND + AMOUNT) for role in titan_policies().grant(name).asking}

    assert asking == {
        *(("support", f"{ORDERS}.{name}") for name in ("GetOrder", "GetOrderAsOf", "ListOrderEvents", "CreateRefund")),
        *(("support", f"{INVOICES}.{name}") for name in ("ListOrderInvoices", "ListOrderCreditNotes")),
        *(("support", f"{PRIVACY}.{name}") for name in ("EraseUser", "GetErasure")),
        ("support", f"{MESSAGES}.ListNotifications"),
        *(("seller", f"{INVOICES}.{name}") for name in ("ListInvoices", "ListCreditNotes")),
        ("seller", f"{ORDERS}.ListSellerOrders"),
        *(("seller", f"titan.payment.v1.SplitService.{name}") for name in ("GetSellerBalance", "ListSellerShares")),
        *(("seller", f"titan.payment.v1.PayoutService.{name}") for name in ("ListPayouts", "ListPayoutLines")),
        ("support", REFUND + AMOUNT),
        ("finance", REFUND + AMOUNT),
    }


@pytest.mark.parametrize("name", FOR_ROLES)
def test_the_policies_open_a_method_to_the_roles_of_the_contract(name: str) -> None:
    """And what was decided at the start is what the engine says when it is asked."""
    method, grant = METHODS[name], titan_policies().grant(name)
    assert method.access is not None and method.access.roles == grant.roles
    assert not permits(name) and not permits(name, own=True)
    for role in ROLES - grant.asking:
        assert {permits(name, role), permits(name, role, **TICKET)} == {role in grant.always}


@pytest.mark.parametrize("name", OF_CUSTOMERS)
def test_a_customer_does_what_is_for_customers_with_what_is_theirs_alone(name: str) -> None:
    for roles in ((), ("customer",), ("guest",), ("warehouse",)):
        assert permits(name, *roles, own=True)
        assert not permits(name, *roles) and not permits(name, *roles, **TICKET)


def test_what_is_for_packages_or_for_everybody_is_no_action() -> None:
    """Nothing of it depends on a role."""
    for name in (f"{ORDERS}.BatchGetReceipts", "titan.catalog.v1.ProductService.GetProduct"):
        assert policies.NOBODY_MORE == titan_policies().grant(name)
        assert not any(permits(name, role) for role in ROLES)


# What is asked call by call


@pytest.mark.parametrize("name", ["GetOrder", "GetOrderAsOf", "ListOrderEvents", "CreateRefund"])
def test_support_reaches_somebody_elses_order_with_a_ticket_alone(name: str) -> None:
    action = f"{ORDERS}.{name}"
    assert permits(action, "support", **TICKET) and not permits(action, "support")


@pytest.mark.parametrize("name", ["CancelOrder", "WatchOrder", "ListOrders"])
def test_a_ticket_opens_nothing_else_of_an_order(name: str) -> None:
    assert not any(permits(f"{ORDERS}.{name}", role, **TICKET) for role in ROLES)


@pytest.mark.parametrize(("role", "limit"), [("support", 10_000), ("finance", 100_000)])
def test_a_refund_has_a_limit_by_role_and_currency(role: str, limit: int) -> None:
    """To the penny; in a currency that nobody has set one for it is nothing at all."""
    assert amount(limit, role) and not amount(limit + 1, role)
    assert not amount(1, role, currency="CHF")
    assert amount(limit, role, currency="EUR") and not amount(2 * limit, role, currency="USD")
    assert not amount(1, role, own=True)


def test_an_administrator_and_an_importer_have_none() -> None:
    for role in ("admin", "importer"):
        assert amount(10**12, role, currency="CHF") and amount(10**12, role, own=True)
    for role in ROLES - {"admin", "importer", "support", "finance"}:
        assert not amount(1, role)


def test_a_seller_reads_what_is_theirs() -> None:
    for name in ("ListInvoices", "ListCreditNotes"):
        assert permits(f"{INVOICES}.{name}", "seller", own=True) and not permits(f"{INVOICES}.{name}", "seller")
        assert permits(f"{INVOICES}.{name}", "seller", "finance")
    orders = f"{ORDERS}.ListSellerOrders"
    assert permits(orders, "seller", own=True) and not permits(orders, "seller") and permits(orders, "seller", "admin")


def test_roles_add_up_and_unknown_ones_count_for_nothing() -> None:
    assert amount(100_000, "support", "finance") and not amount(100_001, "support", "finance")
    assert not permits(f"{ORDERS}.GetOrder", "root", "Support", "support ", **TICKET)


# What stops a start


def problem_of(text: str) -> str:
    with pytest.raises(PolicyProblem) as refused:
        Policies(text, titan_contract())
    return str(refused.value)


def permit(scope: str, condition: str = "") -> str:
    return f'{SHIPPED}\n@id("added")\npermit ({scope}, resource) {condition};\n'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("permit (principal", "unexpected"),
        ("", "no policy lets them"),
        (permit(f'principal in Role::"root", action == Action::"{REFUND}"'), "root"),
        (permit('principal in Role::"admin", action == Action::"titan.order.v1.OrderService.GetOrdre"'), "GetOrdre"),
        (permit('principal in Role::"admin", action == Action::"titan.order.v1.OrderService.EraseUser"'), "EraseUser"),
        (permit(f'principal, action == Action::"{REFUND}"', "when { context.ticket == 1 }"), "ticket"),
        (permit(f'principal, action == Action::"{REFUND}"', 'when { context.ticket_id == "1" }'), "ticket_id"),
        (permit('principal, action in Action::"customer"'), f"{ORDERS}.GetOrder: it is for customers"),
        (permit('principal in Role::"support", action == Action::"titan.payment.v1.LedgerService.VerifyLedger"'),
         "the contract opens it to admin, finance, policies to admin, finance, support"),
        (SHIPPED.replace('    Action::"titan.payment.v1.SettlementService.SettleDay",\n', "", 1),
         "the contract opens it to admin, finance, policies to admin"),
        (SHIPPED + 'forbid (principal, action, resource) when { resource.owner != principal };', "this one forbids"),
    ],
    ids=["no Cedar", "nothing", "a role", "a method", "a method of packages", "a fact", "a fact that may be missing",
         "customers", "one role more", "one role fewer", "a ban"],
)  # fmt: skip
def test_policies_that_are_not_the_contracts_are_refused(text: str, told: str) -> None:
    """What is wrong is named; a process that served without it would let in whom nobody meant."""
    assert told in problem_of(text)


def test_a_file_that_is_missing_or_no_text_is_refused(tmp_path: Path) -> None:
    nowhere, binary = tmp_path / "nowhere.cedar", tmp_path / "binary.cedar"
    binary.write_bytes(b"\xff\xfe")
    for path in (nowhere, binary, tmp_path):
        with pytest.raises(PolicyProblem, match="the policies cannot be read"):
            policies.load(path, titan_contract())


def test_what_is_refused_of_a_file_begins_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.cedar"
    path.write_text("permit")
    with pytest.raises(PolicyProblem) as refused:
        policies.load(path, titan_contract())
    assert refused.value.problems[0] == f"{path}: the policies cannot be used" and len(refused.value.problems) > 1
