"""What of an order is whose, and where it is: without a server."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from svc_payment.errors import PaymentNotCaptured, SharesConflict
from svc_payment.ledger import rules as ledger
from svc_payment.payment.rules import Payment, Status
from svc_payment.split import rules
from svc_payment.split.rules import Share, Shares

AT = datetime(2026, 11, 21, 12, tzinfo=UTC)
FEE = 1_000


def paid(amount_minor: int, *, refunded_minor: int = 0, status: Status = Status.CAPTURED) -> Payment:
    return Payment(
        order_id=uuid4(),
        payment_id=uuid4(),
        status=status,
        created_at=AT,
        user_id=uuid4(),
        provider="wallet",
        amount_minor=amount_minor,
        currency="GBP",
        fingerprint=b"",
        refunded_minor=refunded_minor,
    )


def held(payment: Payment, **sold: int) -> Shares:
    return rules.hold(payment, sold, {}, fee_basis_points=FEE, at=AT)


def moved(before: Shares, after: Shares, *, refund_id: UUID | None = None) -> Counter[str]:
    """Return by how much each account changes, by code and seller."""
    sums: Counter[str] = Counter()
    for seller in after:
        for each in rules.transfers(before.get(seller), after[seller], group_id=uuid4(), refund_id=refund_id):
            sums[f"{each.debit.code} {each.debit.seller_id or ''}".strip()] -= each.amount_minor
            sums[f"{each.credit.code} {each.credit.seller_id or ''}".strip()] += each.amount_minor
    return Counter({name: minor for name, minor in sums.items() if minor})


def test_what_sellers_sold_waits_in_escrow_and_the_fee_comes_off_on_arrival() -> None:
    """The house's own part stays where it is; the fee is rounded down."""
    payment = paid(1500)
    shares = held(payment, tea=999)
    assert Counter({"escrow tea": 999, "sales": -999}) == moved({}, shares)
    released = rules.release(shares, at=AT)
    assert Counter({"escrow tea": -999, "payable tea": 900, "fees": 99}) == moved(shares, released)
    assert released == rules.release(released, at=datetime(2027, 1, 1, tzinfo=UTC))
    assert Counter({"sales": -999, "payable tea": 900, "fees": 99}) == moved({}, released)


def test_the_same_again_is_the_same_and_other_shares_are_a_conflict() -> None:
    payment = paid(1000)
    shares = held(payment, tea=600, pot=400)
    assert shares is rules.hold(payment, {"pot": 400, "tea": 600}, shares, fee_basis_points=0, at=AT)
    rules.refuse_other(shares, {"pot": 400, "tea": 600})
    rules.refuse_other({}, {"pot": 400})
    for other in ({"tea": 600}, {"tea": 601, "pot": 399}):
        with pytest.raises(SharesConflict):
            rules.hold(payment, other, shares, fee_basis_points=FEE, at=AT)
        with pytest.raises(SharesConflict):
            rules.refuse_other(shares, other)
    assert {"tea": 600, "pot": 400} == {seller: share.escrow_minor for seller, share in shares.items()}
    with pytest.raises(SharesConflict):
        held(payment, tea=600, pot=401)


@pytest.mark.parametrize("status", [each for each in Status if each is not Status.CAPTURED])
def test_money_that_was_not_taken_is_not_held(status: Status) -> None:
    with pytest.raises(PaymentNotCaptured):
        held(paid(1000, status=status), tea=600)


def test_what_went_back_before_is_not_held() -> None:
    """Who was said to bear it bore it; where nobody was, all did in proportion, the house with them."""

    def left(*earlier: tuple[int, dict[str, int]]) -> int:
        payment = paid(1000, refunded_minor=sum(minor for minor, _ in earlier))
        shares = rules.hold(payment, {"tea": 600}, {}, earlier=earlier, fee_basis_points=FEE, at=AT)
        return shares["tea"].escrow_minor

    assert [600, 300, 0] == [left(), left((500, {})), left((1000, {}))]
    assert [500, 100] == [left((500, {"tea": 100})), left((500, {"tea": 500}))]
    assert [450, 0] == [left((100, {"tea": 100}), (90, {})), left((700, {"tea": 100}), (300, {}))]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 900), st.integers(0, 500), st.integers(0, 300)), max_size=5))
def test_when_shares_are_held_makes_no_difference_to_who_bears_what(refunds: list[tuple[int, int, int]]) -> None:
    """The saga may be later than a refund; the accounts come to the same."""
    sold, payment, earlier = {"tea": 500, "pot": 300}, paid(900), []
    at_once = rules.hold(payment, sold, {}, fee_basis_points=FEE, at=AT)
    for asked_minor, tea, pot in refunds:
        minor = min(asked_minor, 900 - payment.refunded_minor)
        borne = {"tea": tea, "pot": pot} if tea or pot else {}
        at_once = rules.bear(payment, at_once, minor, borne)
        payment = replace(payment, refunded_minor=payment.refunded_minor + minor)
        earlier.append((minor, borne))
    assert at_once == rules.hold(payment, sold, {}, earlier=earlier, fee_basis_points=FEE, at=AT)


def test_a_refund_comes_out_of_escrow_before_arrival() -> None:
    payment = paid(1000)
    shares = held(payment, tea=600)
    after = rules.bear(payment, shares, 250, {"tea": 200})
    assert Counter({"escrow tea": -200, "sales": 200}) == moved(shares, after, refund_id=uuid4())


def test_a_refund_after_arrival_takes_back_from_the_seller_and_its_fee() -> None:
    """Whichever steps it goes back in, the fee ends as that on what is left: of nothing, nothing."""
    payment = paid(999)
    shares = rules.release(held(payment, tea=999), at=AT)
    after = rules.bear(payment, shares, 333, {"tea": 333})
    assert Counter({"payable tea": -300, "fees": -33, "sales": 333}) == moved(shares, after, refund_id=uuid4())
    assert (66, 600) == (after["tea"].fee_minor, after["tea"].payable_minor)
    nothing = rules.bear(replace(payment, refunded_minor=333), after, 666, {})
    assert (0, 0) == (nothing["tea"].fee_minor, nothing["tea"].payable_minor)


def test_who_bears_what_is_bounded_by_what_they_have() -> None:
    """A seller by its share, the house by its own part; what is left over is borne by who has some left."""
    payment = paid(1000)
    shares = held(payment, tea=600, pot=300)

    def borne(amount: int, **by: int) -> tuple[int, int]:
        after = rules.bear(payment, shares, amount, by)
        return after["tea"].refunded_minor, after["pot"].refunded_minor

    assert (200, 0) == borne(250, tea=200)
    assert (600, 100) == borne(800, tea=900)
    assert (533, 267) == borne(800, tea=600, pot=300)
    assert (300, 150) == borne(500)
    assert (600, 300) == borne(1000, tea=1)


AMOUNTS = st.integers(0, 10_000)


@settings(deadline=None)
@given(AMOUNTS, AMOUNTS, AMOUNTS, st.integers(0, 10_000), st.data())
def test_whatever_happens_nothing_is_lost_or_made(
    tea: int, pot: int, house: int, fee_basis_points: int, data: st.DataObject
) -> None:
    """Through any order of release and refunds the accounts hold what was paid, less what went back; none is below
    zero, and when all has gone back, nobody has anything."""
    payment = paid(tea + pot + house)
    shares = rules.hold(payment, {"tea": tea, "pot": pot}, {}, fee_basis_points=fee_basis_points, at=AT)
    books = Counter({"sales": payment.amount_minor or 0})
    books.update(moved({}, shares))
    for step in (*data.draw(st.lists(st.sampled_from(("release", "refund", "refund all")), max_size=5)), "refund all"):
        before, refund_minor = shares, 0
        if step == "release":
            shares = rules.release(shares, at=AT)
        else:
            left = (payment.amount_minor or 0) - payment.refunded_minor
            refund_minor = left if step == "refund all" else data.draw(st.integers(0, left))
            said = data.draw(st.fixed_dictionaries({"tea": AMOUNTS, "pot": AMOUNTS}) | st.just({}))
            shares = rules.bear(payment, shares, refund_minor, said)
            payment = replace(payment, refunded_minor=payment.refunded_minor + refund_minor)
        books.update(moved(before, shares, refund_id=uuid4()))
        books["sales"] -= refund_minor
        assert all(minor >= 0 for minor in books.values())
        assert sum(books.values()) == (payment.amount_minor or 0) - payment.refunded_minor
    assert not +books


def test_ids_of_movements_follow_from_what_they_are_for() -> None:
    """So that nothing is booked twice, whatever else fails."""
    share = Share(uuid4(), "tea", "GBP", 100, 0, FEE, AT)
    after = replace(share, released_at=AT)

    def ids(refund_id: UUID | None = None) -> list[UUID]:
        return [
            each.transfer_id
            for was, now in ((None, share), (share, after), (after, replace(after, refunded_minor=50)))
            for each in rules.transfers(was, now, group_id=uuid4(), refund_id=refund_id)
        ]

    assert ids() == ids() and 5 == len(set(ids()))
    assert not set(ids(uuid4())) & set(ids(uuid4()))


def test_each_movement_says_what_it_is() -> None:
    """So that whoever reads the books can tell them apart, and finds an account behind each."""
    share = Share(uuid4(), "tea", "GBP", 1000, 0, FEE, AT)
    released, back = replace(share, released_at=AT), {"refunded_minor": 500}

    def kinds(was: Share | None, now: Share) -> list[str]:
        found = rules.transfers(was, now, group_id=uuid4())
        others = {each for transfer in found for each in (transfer.debit, transfer.credit) if each.seller_id}
        assert others <= set(rules.accounts([now]))
        assert all(each.order_id == now.order_id and each.amount_minor > 0 for each in found)
        return [transfer.kind for transfer in found]

    assert ["hold"] == kinds(None, share)
    assert ["take_back"] == kinds(share, replace(share, **back))
    assert ["release", "fee"] == kinds(share, released)
    assert ["hold", "release", "fee"] == kinds(None, released)
    assert ["take_back", "take_back"] == kinds(released, replace(released, **back))


def test_a_sellers_account_is_not_anybody_elses() -> None:
    """Whatever a seller is called."""
    user = uuid4()
    names = [ledger.escrow("house", "GBP"), ledger.escrow(str(user), "GBP"), ledger.payable(str(user), "GBP")]
    names += [ledger.wallet(user, "GBP"), ledger.fees("GBP"), ledger.sales("GBP")]
    assert len(names) == len({each.account_id for each in names})
