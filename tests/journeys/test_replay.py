"""A day of a real shop, replayed through the edge to the penny."""

from __future__ import annotations

import csv
import gzip
import re
import subprocess
import sys
from html import unescape
from pathlib import Path
from uuid import uuid4

import pytest

from bookkeeping.file import COLUMNS
from control.topology_file import ROOT
from replay.deliveries import FIRST_DELIVERY_UNITS
from tests.bookkeeping.files import REAL, needs_the_real_file
from tests.journeys.conftest import RunningMesh, until
from tests.journeys.test_bulk import done, file_of


def played(mesh: RunningMesh, file: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "replay", "--csv", str(file), *options],
        cwd=ROOT,
        env=mesh.environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def killed(mesh: RunningMesh, file: Path, *options: str, orders: int) -> None:
    """Begin a replay, and kill it when it has noted so many orders."""

    def noted() -> int:
        journals = (mesh.home / "replay").glob("*/journal.jsonl")
        return sum(journal.read_text().count('"order":') for journal in journals)

    before = noted()
    replay = subprocess.Popen(
        [sys.executable, "-m", "replay", "--csv", str(file), *options],
        cwd=ROOT,
        env=mesh.environment,
        stdout=subprocess.DEVNULL,
    )
    try:
        until(lambda: noted() - before >= orders, seconds=60)
    finally:
        replay.kill()
        replay.wait()


def books_in(text: str) -> list[str]:
    """The lines of a reconciliation, from its heading to its difference."""
    lines = [line.rstrip() for line in text.splitlines()]
    begins = next(number for number, line in enumerate(lines) if line.startswith("What the file holds"))
    ends = next(number for number, line in enumerate(lines) if line.startswith("difference "))
    return lines[begins : ends + 1]


def books_of(mesh: RunningMesh, file: Path) -> list[str]:
    """The same, as the operation that reconciles the file with the shop's own books writes it."""
    admin = mesh.admin()
    operation = done(admin, reconciliation={"fileId": file_of(admin, file.read_text())})
    assert "0" == operation["progress"].get("refused", "0"), operation
    [page] = [each for each in operation["files"] if each["name"] == "reconciliation.html"]
    written = admin.send("GET", f"/v1/files/{page['fileId']}:read").text
    return books_in(unescape(written.partition("<pre>")[2].partition("</pre>")[0]))


@pytest.mark.timeout(120)
def test_a_small_shops_file_is_played_with_its_returns_shortages_and_charges(mesh: RunningMesh, tmp_path: Path) -> None:
    """Two parcels, of which a part comes back, one that nobody could fill, a fee, and prices of tenths of a penny.

    What the shop itself says then: the same figures line by line, of its own orders; the units are on its shelf, the
    money is back, and its ledger balances.
    """
    run = uuid4().int % 10**8
    sku, rare = f"{run}1", f"{run}2"
    lines = [
        (f"{run}01", sku, 10, "08:00", "2.50", "7"),
        (f"{run}01", "POST", 2, "08:00", "9.00", "7"),
        (f"{run}01", "D", -1, "08:00", "1.00", "7"),
        (f"{run}01", sku, 3, "08:00", "0.001", "7"),
        (f"{run}02", sku, 4, "08:01", "2.00", "7"),
        (f"{run}03", rare, 5000, "08:02", "0.10", ""),
        (f"C{run}04", sku, -5, "09:00", "2.50", "7"),
        (f"C{run}04", "POST", -1, "09:00", "9.00", "7"),
        (f"C{run}05", "AMAZONFEE", -1, "09:30", "50.00", ""),
    ]
    file = tmp_path / "shop.csv"
    with file.open("w", newline="") as written:
        writer = csv.writer(written)
        writer.writerow(COLUMNS)
        for number, code, units, at, price, customer in lines:
            buyer = f"{run}{customer}" if customer else ""
            writer.writerow([number, code, "", units, f"2011-02-01 {at}:00", price, buyer, ""])
    for again in (False, True):
        replay = played(mesh, file)
        assert replay.returncode == 0, replay.stdout + replay.stderr
        rows = {" ".join(line.split()[:-2]): line.split()[-2:] for line in replay.stdout.splitlines() if line.strip()}
        assert ["9", "478.503"] == rows["file total"]
        assert (["2", "50.000"], ["3", "-19.400"]) == (rows["orders"], rows["refunds"])
        assert ["1", "-2.100"] == rows["returns unmatched: goods, more is given back than was paid"]
        assert ["1", "500.000"] == rows["orders refused: OUT_OF_STOCK"]
        assert ["1", "0.003"] == rows["rounding: prices of tenths of a penny"]
        assert replay.stdout.partition("\ndifference ")[2].splitlines()[0].strip() == "0.000"
        assert ("0 placed now, 2 were there already" in replay.stdout) == again
        assert "sales report     2 orders in " in replay.stdout and "the same, line by line; 9 lines" in replay.stdout
    assert books_of(mesh, file) == books_in(replay.stdout)
    on_hand = FIRST_DELIVERY_UNITS - 17 + 5
    until(lambda: mesh.stock(sku) == (on_hand, 0, on_hand))
    assert mesh.admin().ok("GET", "/v1/ledger:verify")["balanced"] is True


@pytest.mark.timeout(120)
@needs_the_real_file
def test_a_day_of_invoices_comes_out_to_the_penny_and_again_the_same(mesh: RunningMesh, tmp_path: Path) -> None:
    """Every invoice is one confirmed order, though the first replay was killed; one that is repeated places nothing
    twice, and says so.

    The shop's own books of the day's lines are the same, line by line.
    """
    day = tmp_path / "day.csv"
    with (gzip.open if REAL.suffix == ".gz" else open)(REAL, "rt", encoding="utf-8", newline="") as file:
        day.write_text("".join([next(file), *(line for line in file if ",2010-12-01 " in line)]))
    killed(mesh, REAL, "--from", "2010-12-01", "--days", "1", orders=40)
    for repeats in (False, True):
        replay = played(mesh, REAL, "--from", "2010-12-01", "--days", "1")
        assert replay.returncode == 0, replay.stdout + replay.stderr
        assert "127 of 127 invoices, 127 CONFIRMED" in replay.stdout
        counts = re.search(r"(\d+) placed now, (\d+) were there already", replay.stdout)
        assert counts is not None
        now, already = map(int, counts.groups())
        assert now + already == 127 and (now == 0 if repeats else 0 < now <= 87)
        assert replay.stdout.count("GBP 58,960.79") == 2
        assert "26  cancellation of an earlier invoice" in replay.stdout
    assert books_of(mesh, day) == books_in(replay.stdout)
    assert mesh.admin().ok("GET", "/v1/ledger:verify")["balanced"] is True
