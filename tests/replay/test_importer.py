"""What a replay asks of the edge: the calls, their keys, and what it makes of the answers."""

from __future__ import annotations

import io
import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from rich.console import Console

from replay import day as replay
from replay import file, invoices
from replay import importer as importer_module
from replay.importer import Importer, ReplayFailed, read_endpoints
from replay.kinds import LineClass, classify

SAMPLE = """invoice_no,stock_code,description,quantity,invoice_time,unit_price_gbp,customer_id,country
1001,15A,TIN ROBIN,2,2010-12-01 08:26:00,1.25,501,United Kingdom
1001,15A,TIN ROBIN,1,2010-12-01 08:26:00,1.20,501,United Kingdom
1001,15a,TIN WREN,3,2010-12-01 08:26:00,0.29,501,United Kingdom
C1002,15A,TIN ROBIN,-1,2010-12-01 09:00:00,1.25,501,United Kingdom
1003,POST,POSTAGE,1,2010-12-01 09:30:00,18.0,,France
1004,22,,-5,2010-12-01 10:00:00,0.0,,United Kingdom
1005,15A,TIN ROBIN,1,2010-12-02 08:00:00,1.25,501,United Kingdom
"""


class Edge:
    """An edge that says yes; it keeps what it was asked, and `first` may answer instead."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None, str | None, dict]] = []
        self.first: list[httpx.Response | Exception] = []
        self.short_pence = 0
        self.known: dict[str, str] = {}
        """When the order of each key was placed: an hour ago, for those that were there before."""

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path, body = request.url.path, json.loads(request.content)
        self.asked.append((path, request.headers.get("idempotency-key"), request.headers.get("authorization"), body))
        if self.first:
            answer = self.first.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        return httpx.Response(200, json=self.answer(path, body))

    def answer(self, path: str, body: dict) -> dict:
        match path:
            case "/v1/sessions":
                return {"accessToken": "importer"}
            case "/v1/sessions:exchange":
                return {"accessToken": f"for {body['subjectUserId']}"}
            case "/v1/users:batchImport":
                return {"results": [{**u, "userId": f"user of {u['externalId']}"} for u in body["users"]]}
            case "/v1/orders":
                total = {**body["expectedTotal"]}
                total["minorUnits"] = str(int(total["minorUnits"]) - self.short_pence)
                now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
                at = self.known.setdefault(self.asked[-1][1] or "", now)
                return {"order": {"status": "CONFIRMED", "total": total, "createTime": at}}
        return {"results": []}

    def to(self, path: str) -> list:
        return [each for each in self.asked if each[0] == path]


@pytest.fixture
def edge() -> Edge:
    return Edge()


@pytest.fixture
def importer(edge, monkeypatch) -> Importer:
    monkeypatch.setattr(importer_module, "PAUSES_SECONDS", (0.0, 0.0))
    return Importer(httpx.AsyncClient(base_url="https://shop.test", transport=httpx.MockTransport(edge)))


@pytest.fixture
def lines(tmp_path: Path) -> list[file.FileLine]:
    (tmp_path / "sample.csv").write_text(SAMPLE)
    return list(file.read(tmp_path / "sample.csv", first=date(2010, 12, 1), days=1))


def sales_of(lines):
    return [line for line in lines if classify(line) is LineClass.SALE]


async def run(importer: Importer, lines):
    orders = invoices.invoices(sales_of(lines))
    await importer.sign_in("importer@titan.local", "secret")
    await importer.stock_the_shop(invoices.shelf(sales_of(lines), orders))
    tokens = await importer.make_buyers(orders)
    return await importer.place(orders, tokens, lambda _: None)


async def test_each_invoice_is_one_order_at_its_prices_and_time(importer, edge, lines):
    """In the name of its customer, or of a guest of its own; a product twice, and codes that differ by case."""
    outcomes = await run(importer, lines)
    assert [("CONFIRMED", 457), ("CONFIRMED", 1800)] == [(o.status, o.total_minor) for o in outcomes]
    first, guest = sorted(edge.to("/v1/orders"), key=lambda asked: asked[1])
    assert ("invoice-1001", "Bearer for user of customer-501") == first[1:3]
    assert ("invoice-1003", "Bearer for user of guest-1003") == guest[1:3]
    body = first[3]
    assert ("2010-12-01T08:26:00Z", "457") == (body["effectiveTime"], body["expectedTotal"]["minorUnits"])
    assert [("15A", 2, "125"), ("15A", 1, "120"), ("15a", 3, "29")] == [
        (line["sku"], line["quantity"], line["agreedPrice"]["minorUnits"]) for line in body["lines"]
    ]


async def test_the_goods_and_the_buyers_come_in_batches(importer, edge, lines):
    """One call each for products, stock, users and money, whatever their number up to the limits."""
    await run(importer, lines)
    paths = [
        "/v1/products:batchCreate",
        "/v1/inventory:batchAdjust",
        "/v1/users:batchImport",
        "/v1/wallets:batchCredit",
    ]
    assert [1, 1, 1, 1] == [len(edge.to(path)) for path in paths]
    (credit,) = edge.to("/v1/wallets:batchCredit")
    assert ["457", "1800"] == [each["amount"]["minorUnits"] for each in credit[3]["credits"]]


async def test_a_repeated_replay_asks_for_the_same_with_the_same_keys(importer, edge, lines):
    """So nothing moves twice."""
    await run(importer, lines)
    first, edge.asked = edge.asked, []
    await run(importer, lines)
    keyed = [sorted((key, json.dumps(body)) for _, key, _, body in asked if key) for asked in (first, edge.asked)]
    assert keyed[0] == keyed[1] and 4 == len(keyed[0])


@pytest.mark.parametrize(
    "lost",
    [
        httpx.ReadError("cut"),
        httpx.Response(503, json={"error": {"details": [{"reason": "UNAVAILABLE"}]}}),
        httpx.Response(429, json={"error": {"details": [{"reason": "OVERLOADED"}]}}),
    ],
)
async def test_a_lost_answer_is_asked_for_again_with_its_key(importer, edge, lines, lost):
    """An unknown answer is settled by asking again."""
    (invoice, _) = invoices.invoices(sales_of(lines))
    edge.first = [lost]
    (outcome,) = await importer.place([invoice], {invoice.buyer: "t"}, lambda _: None)
    assert "CONFIRMED" == outcome.status
    assert ["invoice-1001"] * 2 == [key for _, key, _, _ in edge.to("/v1/orders")]


async def test_the_limits_of_the_default_profile_are_named(importer, edge):
    """With the command that raises them; asking again would not help."""
    edge.first = [httpx.Response(429, text="local_rate_limited")]
    with pytest.raises(ReplayFailed, match="PROFILE=load"):
        await importer.sign_in("a", "b")
    assert 1 == len(edge.asked)


async def test_a_refused_order_keeps_its_reason_and_its_neighbours_go(importer, edge, lines):
    """A refusal is a result, not the end of the replay."""
    orders = invoices.invoices(sales_of(lines))
    edge.first = [httpx.Response(400, json={"error": {"details": [{"reason": "OUT_OF_STOCK"}]}})]
    outcomes = await importer.place(orders, {i.buyer: "t" for i in orders}, lambda _: None)
    assert ["", "OUT_OF_STOCK"] == sorted(outcome.refusal for outcome in outcomes)


@pytest.mark.parametrize(("short_pence", "status", "word"), [(0, 0, "GBP 22.57"), (1, 1, "DIFFERENT")])
async def test_the_exit_status_says_whether_the_sums_agree(
    importer, edge, lines, monkeypatch, short_pence, status, word
):
    """To the penny, and every line that is no sale is listed with its class."""
    edge.short_pence = short_pence
    monkeypatch.setattr(replay, "console", printed := Console(file=io.StringIO(), soft_wrap=True, width=200))
    monkeypatch.setattr(Importer, "at", lambda endpoints: importer)
    assert status == await replay._replay({"importer_email": "a", "importer_password": "b"}, lines)
    text = printed.file.getvalue()
    assert word in text and LineClass.CANCELLATION in text and LineClass.STOCK_CORRECTION in text


async def test_a_repeated_replay_says_that_it_placed_nothing(importer, edge, lines, monkeypatch):
    """An answer that comes again is no new order; each part of the work has its time."""
    monkeypatch.setattr(replay, "console", printed := Console(file=io.StringIO(), soft_wrap=True, width=200))
    monkeypatch.setattr(Importer, "at", lambda endpoints: importer)
    hour_ago = datetime.now(UTC) - timedelta(hours=1)
    edge.known["invoice-1001"] = hour_ago.isoformat().replace("+00:00", "Z")
    assert 0 == await replay._replay({"importer_email": "a", "importer_password": "b"}, lines)
    text = printed.file.getvalue()
    assert "1 placed now, 1 were there already" in text
    parts = ("reading the file", "goods and stock", "customers and money", "orders")
    assert all(f"{part} 0." in text for part in parts)


def test_without_a_mesh_the_replay_says_which_to_start(tmp_path):
    """The load profile, at once."""
    with pytest.raises(ReplayFailed, match=f"{tmp_path}; start one: make up PROFILE=load"):
        read_endpoints(tmp_path)


def test_a_mesh_of_another_profile_is_refused_before_the_first_call(tmp_path):
    """Its limits would cut the replay off half way, with customers made and no order placed."""
    (tmp_path / "endpoints.json").write_text('{"profile": "default"}')
    with pytest.raises(ReplayFailed, match="runs with PROFILE=default: make down, then make up PROFILE=load"):
        read_endpoints(tmp_path)
    (tmp_path / "endpoints.json").write_text('{"profile": "load"}')
    assert {"profile": "load"} == read_endpoints(tmp_path)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--from", "2010-12-99"), "2010-12-99 is not a date: YYYY-MM-DD"),
        (("--days", "0"), "0 is not a number of days from 1 to 3660"),
        (("--days", "9999999"), "9999999 is not a number of days"),
        (("--days", "one"), "one is not a number of days"),
    ],
)
def test_days_that_do_not_exist_are_refused(monkeypatch, capsys, given, said):
    """In words that say what is wanted."""
    monkeypatch.setattr("sys.argv", ["replay", "--csv", "x.csv", *given])
    with pytest.raises(SystemExit):
        replay.main()
    assert said in capsys.readouterr().err
