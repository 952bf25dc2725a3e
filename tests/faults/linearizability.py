"""Says whether one object's history could have happened one operation at a time (Herlihy and Wing, 1990).

The search is that of Wing and Gong (1993), with Lowe's memory of configurations that were tried (2017): take any
operation that could come next, which is one that was asked before every other open one had returned, see whether the
model allows its result, and go on; step back when nothing is left. An operation with an unknown outcome may have taken
effect at any time after it was asked, or never. Like theirs, it can take time without bound on an object that many ask
at once, so it gives up where `MOST_CONFIGURATIONS` says.

Effects that nobody waits for (a release after a cancel, a credit after a refund) are steps too: asked when their cause
was, and done by the time at which the mesh rested. Thousands of them overlap, and equal ones are interchangeable:
among steps with the same content and the same end, the one asked first may always come first. So such a class is one
counter, not a set, and the search stays small.

The system under test may say in which order it thinks that things happened (`Step.rank`). It is not believed: the claim
only decides what is tried first, and a claim that fits proves the history right in one pass, however long it is.

A model is a pure function: state, step -> the states that it may leave, none when the result can't be.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace

MOST_CONFIGURATIONS = 200_000
"""A history that needs more is reported as undecided, never as right."""


@dataclass(frozen=True, slots=True)
class Step:
    """One operation on one object. `result` is what it answered; `name` and `arguments` are what the model reads.

    Attributes:
        returned_at: When it was over at the latest; infinite when nobody knows.
        certain: Whether it took effect. One that is not may be left out.
        label: For people: which operation of the journal it is.
        rank: What to try first: the place that the system under test claims for it.
    """

    invoked_at: float
    returned_at: float
    name: str
    arguments: tuple[Hashable, ...] = ()
    result: Hashable = None
    certain: bool = True
    label: str = ""
    rank: float = math.inf


State = Hashable
Model = Callable[[State, Step], Sequence[State]]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a history is linearizable; if not, the step at which the longest attempt stood still, and the state."""

    linearizable: bool
    decided: bool = True
    configurations: int = 0
    stuck_at: Step | None = None
    state: State = None


@dataclass(frozen=True, slots=True)
class _Configuration:
    """What is linearized: all `ordered` steps before `first`, those in `mask` after it, and so many of each pool."""

    first: int
    mask: int
    taken: tuple[int, ...]
    state: State


def check(steps: Sequence[Step], initial: State, model: Model, *, most: int = MOST_CONFIGURATIONS) -> Verdict:
    """Search an order of the steps that keeps to their times and to the model."""
    ordered, pools = _split(steps)
    start = _Configuration(0, 0, (0,) * len(pools), initial)
    seen = {start}
    stack = [_successors(start, ordered, pools, model)]
    furthest, reached = start, (-1, -1)
    while stack:
        configuration = next(stack[-1], None)
        if configuration is None:
            stack.pop()
            continue
        if configuration in seen:
            continue
        if len(seen) >= most:
            return Verdict(False, False, len(seen), _blocked(furthest, ordered, pools), furthest.state)
        seen.add(configuration)
        if _is_done(configuration, ordered, pools):
            return Verdict(True, configurations=len(seen))
        progress = (configuration.first + configuration.mask.bit_count(), sum(configuration.taken))
        if progress > reached:
            furthest, reached = configuration, progress
        stack.append(_successors(configuration, ordered, pools, model))
    if _is_done(start, ordered, pools):
        return Verdict(True, configurations=1)
    return Verdict(False, True, len(seen), _blocked(furthest, ordered, pools), furthest.state)


def _split(steps: Sequence[Step]) -> tuple[list[Step], list[list[Step]]]:
    """Return the steps in the order in which they were asked, and apart from them the classes of interchangeable ones.

    A pool is a class of equal content and equal end; a step that only it is like stands alone, and with the others,
    unless it may be left out.
    """
    classes: dict[Hashable, list[Step]] = defaultdict(list)
    for step in steps:
        classes[step.name, step.arguments, step.result, step.returned_at, step.certain].append(step)
    ordered = [step for same in classes.values() if len(same) == 1 and same[0].certain for step in same]
    pools = [_pool(same) for same in classes.values() if len(same) > 1 or not same[0].certain]
    return sorted(ordered, key=lambda step: step.invoked_at), pools


def _pool(same: Sequence[Step]) -> list[Step]:
    """Return interchangeable steps by the time at which they were asked; the claimed places are handed out anew."""
    ranks = sorted(step.rank for step in same)
    return [
        replace(step, rank=rank)
        for step, rank in zip(sorted(same, key=lambda step: step.invoked_at), ranks, strict=True)
    ]


def _successors(
    at: _Configuration, ordered: Sequence[Step], pools: Sequence[Sequence[Step]], model: Model
) -> Iterator[_Configuration]:
    """Yield what may come next, the most urgent first: that order is nearly always right when the history is.

    Two choices need no branch. What leaves the state as it is, as a read does, may come at once: whatever follows, it
    disturbs nobody. Of steps with the same content, the one that returned first may come first: in any order that has
    them the other way round they can change places. Beside it only the one with the first claim is tried.
    """
    candidates, pooled = _candidates(at, ordered, pools)
    chosen = _urgent(candidates, ordered) | _claimed(candidates, ordered)
    found: list[tuple[tuple[float, bool, float], _Configuration]] = []
    for place in chosen:
        step = ordered[place]
        first, mask = at.first, at.mask | 1 << (place - at.first)
        while mask & 1:
            first, mask = first + 1, mask >> 1
        for state in model(at.state, step):
            follows = _Configuration(first, mask, at.taken, state)
            if state == at.state:
                yield follows
                return
            found.append(((step.rank, False, step.returned_at), follows))
    for number in pooled:
        step = pools[number][at.taken[number]]
        taken = (*at.taken[:number], at.taken[number] + 1, *at.taken[number + 1 :])
        for state in model(at.state, step):
            found.append(((step.rank, True, step.returned_at), _Configuration(at.first, at.mask, taken, state)))
    yield from (follows for _, follows in sorted(found, key=lambda each: each[0]))


def _urgent(places: Sequence[int], ordered: Sequence[Step]) -> set[int]:
    """Return, of each content, the place of the step that returned first."""
    by_end = sorted(places, key=lambda place: -ordered[place].returned_at)
    return set({_content(ordered[place]): place for place in by_end}.values())


def _claimed(places: Sequence[int], ordered: Sequence[Step]) -> set[int]:
    """Return, of each content, the place of the step with the first claim, if one has any."""
    by_rank = sorted(places, key=lambda place: -ordered[place].rank)
    return set({_content(ordered[place]): place for place in by_rank if ordered[place].rank < math.inf}.values())


def _content(step: Step) -> Hashable:
    return step.name, step.arguments, step.result


def _candidates(
    at: _Configuration, ordered: Sequence[Step], pools: Sequence[Sequence[Step]]
) -> tuple[list[int], list[int]]:
    """Return the places in `ordered`, and the numbers of the pools, whose next step may come next."""
    open_pools = [number for number, pool in enumerate(pools) if at.taken[number] < len(pool)]
    ends = (pools[number][0].returned_at for number in open_pools if pools[number][0].certain)
    limit = min(ends, default=math.inf)
    candidates, place, mask = [], at.first, at.mask
    while place < len(ordered) and ordered[place].invoked_at <= limit:
        if not mask & 1:
            candidates.append(place)
            limit = min(limit, ordered[place].returned_at)
        place, mask = place + 1, mask >> 1
    pooled = [number for number in open_pools if pools[number][at.taken[number]].invoked_at <= limit]
    return [place for place in candidates if ordered[place].invoked_at <= limit], pooled


def _is_done(at: _Configuration, ordered: Sequence[Step], pools: Sequence[Sequence[Step]]) -> bool:
    return at.first == len(ordered) and all(
        at.taken[number] == len(pool) for number, pool in enumerate(pools) if pool[0].certain
    )


def _blocked(at: _Configuration, ordered: Sequence[Step], pools: Sequence[Sequence[Step]]) -> Step | None:
    """Return the step that had to come next and could not: the open one that returned first."""
    candidates, pooled = _candidates(at, ordered, pools)
    steps = [ordered[place] for place in candidates]
    steps += [pools[number][at.taken[number]] for number in pooled if pools[number][0].certain]
    return min(steps, key=lambda step: step.returned_at, default=None)


def counter(state: State, step: Step) -> Sequence[State]:
    """Something limited: units that can be sold, money that can be spent. It never goes below zero.

    The state is what is left, and, sorted, what is held for those who will not get it: an order whose card is
    declined had its units for a moment.

    add(n), take(n): n more, n fewer. read() answers what is left; so does rest(), when nothing is held any more.
    short(n) was refused because fewer than n were left, and answers how many, or None. hold(n) and free(n): out of
    reach for a while. added(n) answers what is left then.
    """
    left, held = state  # type: ignore[misc]
    amount = step.arguments[0] if step.arguments else 0
    assert isinstance(amount, int)
    match step.name:
        case "read":
            return [state] if left == step.result else []
        case "rest":
            return [state] if left == step.result and not held else []
        case "short":
            return [state] if left < amount and step.result in (None, left) else []
        case "add":
            return [(left + amount, held)] if step.result in (None, left + amount) else []
        case "take":
            return [(left - amount, held)] if left >= amount else []
        case "hold":
            return [(left - amount, tuple(sorted((*held, amount))))] if left >= amount else []
        case "free":
            if amount not in held:
                return []
            place = held.index(amount)
            return [(left + amount, held[:place] + held[place + 1 :])]
    raise ValueError(f"a counter knows no {step.name}")


DECIDED = ("CONFIRMED", "CANCELLED")
"""What a checkout may make of a pending order; nothing but somebody's wish changes it then."""


def order(state: State, step: Step) -> Sequence[State]:
    """One order: placed, decided by itself, and then what its owner and the shop want of it.

    The state is "ABSENT", or status, total, and what has gone back of it by refunds. A step without a result was
    refused, with the reason in its arguments.

    place(total) records it. read() answers a status, rest() the status and what was refunded; what the
    undo of a cancelled order sent back is no refund. cancel(), ship() and
    arrive() may be repeated. refund(amount or None for the rest, by) answers the amount.
    """
    if state == "ABSENT":
        if step.name == "place":
            return [("PENDING", step.arguments[0], 0)]
        return [state] if step.result == "ABSENT" else []
    status, total, refunded = state  # type: ignore[misc]
    possible = [status, *DECIDED] if status == "PENDING" else [status]
    found: list[State] = []
    for now in possible:
        after = _wished(now, total, refunded, step)
        if after is not None:
            found.append((after[0], total, after[1]))
    return found


def _wished(status: str, total: int, refunded: int, step: Step) -> tuple[str, int] | None:
    """Return status and refunded amount after a step, None when it cannot answer what it did."""
    same = status, refunded
    touchable = status in ("PENDING", "CONFIRMED") and not refunded
    left = status in ("SHIPPED", "DELIVERED")
    match step.name, step.result:
        case "place", _:
            return None
        case "read", result:
            return same if result == status else None
        case "rest", result:
            return same if result == (status, refunded) else None
        case "cancel", "refused":
            return None if touchable or status == "CANCELLED" else same
        case "cancel", _:
            return ("CANCELLED", 0) if touchable or status == "CANCELLED" else None
        case "ship", "refused":
            return None if left or status == "CONFIRMED" else same
        case "ship", _:
            return same if left else ("SHIPPED", refunded) if status == "CONFIRMED" else None
        case "arrive", "refused":
            return None if left else same
        case "arrive", _:
            return ("DELIVERED", refunded) if left else None
        case "refund", result:
            return _refunded(status, total, refunded, step.arguments, result)
    raise ValueError(f"an order knows no {step.name}")


def _refunded(
    status: str, total: int, refunded: int, arguments: tuple[Hashable, ...], result: Hashable
) -> tuple[str, int] | None:
    asked, by = arguments
    amount = total - refunded if asked is None else asked
    assert isinstance(amount, int)
    if status not in ("CONFIRMED", "SHIPPED", "DELIVERED"):
        refusal = "ORDER_NOT_REFUNDABLE"
    elif by == "owner" and status != "CONFIRMED":
        refusal = "SUPPORT_REQUIRED"
    elif amount > total - refunded:
        refusal = "REFUND_EXCEEDS_ORDER"
    elif by == "owner" and amount < total - refunded:
        refusal = "SUPPORT_REQUIRED"
    elif result in (None, amount):  # None: nobody knows whether it was answered
        return ("REFUNDED" if amount == total - refunded else status), refunded + amount
    else:
        return None
    return (status, refunded) if result in (None, refusal) else None
