"""Each answer counts where it belongs: to calm time, to the slow time, or to neither."""

from __future__ import annotations

from tests.faults.journal import Answer, Operation
from tests.faults.latencies import ENOUGH, FEWEST, p99, routes


def asked(kind: str, at: float, seconds: float, **arguments: object) -> Operation:
    """Return a wish that was answered after so many seconds."""
    answer = Answer(at, at + seconds, "ok", {})
    return Operation(1, "s0", kind, "", arguments, at, at, 1, [answer])


def test_a_route_is_compared_with_its_own_calm_time() -> None:
    calm = [asked("wallet", 10, 0.1) for _ in range(FEWEST)]
    slow = [asked("wallet", 20, 0.3) for _ in range(FEWEST)]
    beside = [asked("wallet", 31, 5.0), asked("wallet", 29.9, 5.0)]  # in another fault, and just before it
    (route,) = routes([*calm, *slow, *beside], faults=[(19, 25), (30, 32)], slow=[(19, 24)])
    assert (route.calm, route.disturbed) == (FEWEST, FEWEST)
    assert route.ratio is not None
    assert abs(route.ratio - 3) < 0.01


def test_orders_stand_apart_by_what_they_are_paid_with() -> None:
    names = [route.name for route in routes([asked("place", 1, 1, by=by) for by in ("wallet", "tok_visa")], [], [])]
    assert names == ["place, card", "place, wallet"]


def test_a_route_that_waits_for_what_it_does_not_need_is_held_up() -> None:
    for answers, seconds, held_up in ((ENOUGH, 0.3, True), (ENOUGH, 0.19, False), (ENOUGH - 1, 0.3, False)):
        wallet = [
            asked("place", at, took, by="wallet") for at, took in ((10, 0.1), (20, seconds)) for _ in range(answers)
        ]
        card = [asked("place", at, took, by="tok_visa") for at, took in ((10, 0.1), (20, 5)) for _ in range(answers)]
        found = {route.name: route.held_up for route in routes([*wallet, *card], [(19, 30)], [(19, 30)])}
        assert {"place, wallet": held_up, "place, card": False} == found


def test_too_few_answers_say_nothing() -> None:
    (route,) = routes([asked("look", 10, 0.1), asked("look", 20, 9)], [(19, 30)], [(19, 30)])
    assert route.ratio is None
    assert p99([]) == 0
