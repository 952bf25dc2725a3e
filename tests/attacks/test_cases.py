"""The list of attacks: how many, of which families, each with an answer to the letter."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from redis.asyncio import Redis

from control.servers.valkey import Valkey
from control.topology_file import TOPOLOGY
from mesh import topology
from tests.attacks import aftermath, memory, neighbour, untouched
from tests.attacks.case import GROUPS, every_case
from tests.attacks.neighbour import Served
from tests.attacks.people import Person, Signer
from tests.attacks.run import chosen, shopping_of
from tests.attacks.scene import Bystander, Victims
from tests.contracts.reading import DOMAINS, reasons

FEWEST_CASES = 150
CASES = every_case()
ASVS = Path(__file__).resolve().parents[2] / "docs" / "ASVS.md"
TOLD = re.compile(r"^\| (\d+) \| ([a-z_]+: .+) \| ([^|]+) \|$", re.MULTILINE)
STATUS = re.compile(r"(?:[2-5]\d\d|[A-Z_]+)(?: ([A-Z_]+))?")


def test_there_are_as_many_as_the_issue_wants_and_some_of_each_family() -> None:
    assert len(CASES) >= FEWEST_CASES
    assert set(GROUPS) == {case.group for case in CASES}


def test_numbers_and_names_are_each_of_one_case() -> None:
    """A number repeats a case, so it has to mean one."""
    assert list(range(1, len(CASES) + 1)) == [case.number for case in CASES]
    assert [] == [name for name, count in Counter(case.name for case in CASES).items() if count > 1]


def test_the_page_of_the_standard_names_cases_as_they_are() -> None:
    """A number is a place in the list, so a new case moves those after it; `docs/ASVS.md` moves along."""
    told = {int(number): (name, due) for number, name, due in TOLD.findall(ASVS.read_text())}
    known = {case.number: (case.name, case.due) for case in CASES}
    places = {name: number for number, (name, _) in known.items()}

    assert told
    wrong = {number: cell for number, cell in told.items() if known.get(number) != cell}
    assert {} == {number: f"{name} is attack {places.get(name)} now" for number, (name, _) in wrong.items()}


def test_a_due_reason_is_one_of_the_contract() -> None:
    """What a case expects can be answered at all."""
    known = set().union(*(reasons(domain) for domain in (*DOMAINS, "type")))
    named = {found[1] for case in CASES if (found := STATUS.fullmatch(case.due)) and found[1]}

    assert named
    assert named <= known


def test_a_case_is_chosen_by_number_and_by_group() -> None:
    assert [37] == [case.number for case in chosen(CASES, "37", short=False)]
    assert {"refresh"} == {case.group for case in chosen(CASES, "refresh", short=False)}
    assert not any(case.long for case in chosen(CASES, "", short=True))
    assert [] == chosen(CASES, "nothing", short=False)


def test_what_may_change_is_named_and_is_no_bookkeeping() -> None:
    packages = topology.load(TOPOLOGY).packages
    for name in {table for case in CASES for table in case.changes}:
        assert name.partition(".")[0] in packages
        assert name not in untouched.BOOKKEEPING


def test_a_changed_row_is_a_changed_table() -> None:
    before = {"svc_order.orders": "1 7", "svc_order.outbox": "1 7"}

    assert {"svc_order.orders"} == untouched.changed(before, {**before, "svc_order.orders": "1 8"})
    assert {"svc_order.outbox"} == untouched.changed(before, {"svc_order.orders": "1 7"})


def test_memory_is_judged_as_a_whole() -> None:
    before, after = {"a": 100, "b": 50}, {"a": 160, "b": 40}

    assert 50 == memory.growth(before, after)
    assert "a +0.0 MB" in memory.told(before, after)


def test_a_neighbour_is_judged_by_the_calls_of_a_time() -> None:
    """A call counts where it was under way, also when it began before."""
    calls = [Served(float(n), 2.0, "/", 200) for n in range(10)]

    assert [3.0, 4.0, 5.0, 6.0] == [call.began for call in neighbour.between(calls, 5.0, 6.0)]
    assert not Served(0, 1, "/", 503).well


def test_a_neighbour_is_nobody_whom_a_case_asks_as() -> None:
    """The bucket of a user is that user's alone: an attacker who has the neighbour's token would rightly drain it."""
    signer = Signer("kid", ec.generate_private_key(ec.SECP256R1()))
    admin, owner, other, guest, shopper = [Person(str(uuid4()), "") for _ in range(5)]
    scene: Any = SimpleNamespace(
        signer=signer,
        victims=Victims(admin, owner, other, guest, "sku", "product", "their order", "payment", "address", "session"),
        bystander=Bystander(shopper.user_id, "an order"),
    )

    token, order_id, _ = shopping_of(scene)

    asks_as = jwt.decode(token, options={"verify_signature": False})["sub"]
    assert (shopper.user_id, "an order") == (asks_as, order_id)
    assert asks_as not in {each.user_id for each in (admin, owner, other, guest)}


def test_a_neighbour_asks_for_less_than_a_user_is_given() -> None:
    """Whatever it is refused was taken from it by somebody else."""
    given = topology.load(TOPOLOGY).limits["default"]

    assert 1 / neighbour.PAUSE_SECONDS < min(given.user.per_second, given.address.per_second)


def test_a_failure_belongs_to_the_case_whose_address_called() -> None:
    case = next(case for case in CASES if case.number == 300)
    mine = aftermath.Failure("GET /: 500", "127.17.50.1")
    others = aftermath.Failure("GET /: 500", "127.17.51.1")
    due = aftermath.Failure("GET /: 501", "127.17.50.2", due=True)

    assert [mine.what] == aftermath.of_case([mine, others, due], case)


async def test_a_digest_passes_over_shared_buckets_and_over_nothing_else_of_redis(valkey_server: Valkey) -> None:
    """They count attacks; whatever else an attack leaves there got through."""
    async with Redis.from_url(valkey_server.url) as cache:
        digester, name = untouched.Digester({}, cache), uuid4().hex
        before = await digester.take()
        await cache.set(f"limits:{name}", 1, ex=60)
        counted = await digester.take()
        await cache.set(f"cart:{name}", 1, ex=60)
        after = await digester.take()

    assert set() == untouched.changed(before, counted)
    assert {"redis"} == untouched.changed(before, after)


def test_the_audit_log_is_told_where_nothing_else_changed() -> None:
    before = {"svc_order.orders": "1 7", "svc_order.audit_entries": "1 7"}
    entry = {"svc_order.audit_entries": "2 9"}

    assert {"svc_order.audit_entries"} == untouched.changed(before, {**before, **entry})
    assert {"svc_order.orders"} == untouched.changed(before, {**entry, "svc_order.orders": "2 9"})
