"""What a call may reach, as the stage of access leaves it for the handler. No server, no database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest

from mesh import calls, powers
from mesh.calls import Call
from mesh.identity import Caller
from mesh.interceptors.access import Access
from mesh.policies import Policies
from mesh.refusals import AccessDenied, Refusal, SecondFactorRequired, TicketRequired, Unauthenticated
from tests.harness import titan_contract, titan_policies

METHODS = {method.full_name: method for method in titan_contract().methods.values()}
GET, REFUND = "titan.order.v1.OrderService.GetOrder", "titan.order.v1.OrderService.CreateRefund"
PLACE = "titan.order.v1.CheckoutService.PlaceOrder"
MESSAGES = "titan.notify.v1.NotificationService.ListNotifications"
BALANCE = "titan.payment.v1.SplitService.GetSellerBalance"
USER = UUID(int=1)
TICKET = "SUP-4711"


class Hidden(Refusal):
    """There is none, or it is somebody else's."""


class Untouchable(Policies):
    """Policies whose engine nobody may ask any more."""

    def __init__(self, shipped: Policies) -> None:
        self._grants = shipped._grants

    def permits(self, *asked: Any, **facts: Any) -> bool:
        raise AssertionError("the engine was asked")


@pytest.fixture
def call() -> Iterator[Call]:
    with calls.detached() as current:
        yield current


def enter(call: Call, name: str, *roles: str, known: Policies | None = None, withheld: str = "", **fields: Any) -> None:
    """Pass the stage of access with a call."""
    caller = Caller(user_id=USER, roles=frozenset(roles), withheld=frozenset(withheld.split()))
    call.method, call.caller = METHODS[name], caller
    call.powers, call.ticket_id = None, ""
    check = Access(None, known or titan_policies()).check_of(call.method)
    assert check is not None
    check(call.method.request_class(**fields), call)


def test_a_customer_reaches_their_own_without_a_question(call: Call) -> None:
    """Nor is one asked for whoever has a role that adds nothing, or adds it always."""
    known = Untouchable(titan_policies())
    for name, roles in ((GET, ["customer"]), (PLACE, ["customer", "support"]), (GET, ["warehouse"]), (GET, [])):
        enter(call, name, *roles, known=known)
        assert powers.reach(TICKET) == powers.Reach(USER) and USER == powers.reach().owner_id
        assert "" == call.ticket_id
    enter(call, REFUND, "customer", "admin", known=known)
    assert powers.reach().anybodys and powers.may_move(uuid4(), "GBP", 10**9)
    enter(call, MESSAGES, "admin", known=known)
    assert powers.may_read_of("anybody")


def test_a_ticket_is_noted_where_it_opened_something(call: Call) -> None:
    enter(call, GET, "customer", "support")
    reach = powers.reach(TICKET)
    assert reach.anybodys and reach.owner_id is None and TICKET == call.ticket_id


def test_without_a_ticket_the_own_is_reached_and_the_rest_wants_one(call: Call) -> None:
    """Whether it is there or not."""
    enter(call, GET, "customer", "support")
    reach = powers.reach()
    assert not reach.anybodys
    with reach.hiding(Hidden) as owner_id:
        assert USER == owner_id
    with pytest.raises(TicketRequired), reach.hiding(Hidden):
        raise Hidden("not there")
    with pytest.raises(ValueError, match="another"), reach.hiding(Hidden):
        raise ValueError("another")


def test_whom_no_ticket_helps_hears_nothing_of_tickets(call: Call) -> None:
    for roles in (["customer"], ["customer", "seller"]):
        enter(call, GET, *roles)
        with pytest.raises(Hidden), powers.reach().hiding(Hidden):
            raise Hidden("not there")


def test_a_withheld_role_adds_nothing_but_the_word_of_it(call: Call) -> None:
    """With a ticket and without; their own is theirs as anybody's. A role that would add nothing is not spoken of."""
    for name, ticket in ((GET, ""), (GET, TICKET), (REFUND, TICKET)):
        enter(call, name, "customer", withheld="support")
        reach = powers.reach(ticket)
        with reach.hiding(Hidden) as owner_id:
            assert USER == owner_id
        with pytest.raises(SecondFactorRequired), reach.hiding(Hidden):
            raise Hidden("not there")
        assert "" == call.ticket_id and not powers.may_move(USER, "GBP", 0)
    enter(call, GET, "customer", withheld="warehouse")
    with pytest.raises(Hidden), powers.reach(TICKET).hiding(Hidden):
        raise Hidden("not there")
    with pytest.raises(SecondFactorRequired):
        enter(call, MESSAGES, "customer", withheld="support admin", ticket_id=TICKET)
    with pytest.raises(SecondFactorRequired):
        enter(call, BALANCE, "customer", withheld="finance")
    enter(call, BALANCE, "customer", "seller", withheld="finance")
    assert powers.may_read_of(str(USER)) and not powers.may_read_of("house")


def test_a_method_for_roles_lets_support_in_with_a_ticket(call: Call) -> None:
    """It is decided at the door, before a handler could forget to."""
    with pytest.raises(TicketRequired):
        enter(call, MESSAGES, "customer", "support")
    enter(call, MESSAGES, "customer", "support", ticket_id=TICKET)
    assert TICKET == call.ticket_id
    with pytest.raises(AccessDenied):
        enter(call, MESSAGES, "customer", "finance", ticket_id=TICKET)
    enter(call, MESSAGES, "admin", "support")


def test_a_seller_reads_of_themselves(call: Call) -> None:
    enter(call, BALANCE, "customer", "seller", seller_id="anybody")
    assert powers.may_read_of(str(USER)) and not powers.may_read_of(str(uuid4())) and not powers.may_read_of("house")
    enter(call, BALANCE, "finance", "seller")
    assert powers.may_read_of("house")


def test_nothing_is_reached_outside_of_a_call_that_passed_the_door(call: Call) -> None:
    """A handler that is called otherwise gives nobody more than their own."""
    call.method, call.caller = METHODS[REFUND], Caller(user_id=USER, roles=frozenset({"admin"}))
    assert powers.Reach(USER) == powers.reach(TICKET)
    assert not powers.may_read_of(str(USER)) and not powers.may_move(USER, "GBP", 0)
    call.caller = Caller()
    with pytest.raises(Unauthenticated):
        powers.reach()


def test_without_policies_a_role_opens_its_methods_and_nobodys_objects(call: Call) -> None:
    call.method, call.caller = METHODS[GET], Caller(user_id=USER, roles=frozenset({"support"}))
    check = Access().check_of(call.method)
    assert check is not None
    check(call.method.request_class(), call)
    assert powers.Reach(USER) == powers.reach(TICKET)
