"""What of a replay stands in docs/REPLAY.md: all of it made from the folder of one run."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from replay import page
from replay.figures import Figures, ShopSays

SECONDS = {"reading the file": 2.0, "goods, customers, money": 10.0, "orders and returns": 400.0}
MACHINE = {"cores": 2, "processor": "Some CPU", "kernel": "6.1", "python": "3.11.2"}
TAKEN = {"date": "2026-01-02T03:04:05+00:00", "machine": MACHINE, "commit": "abc", "load_average": 1.0}
FIGURES = Figures("ample", 209_029, 8_119, SECONDS, ShopSays(3.21, 9.04, True), TAKEN)
BOOKS = "What became of it\ndifference 0.000\nunclassified: 1005 what A THING\n"
PLACES = "\n".join(f"before {name}\n<!-- {name} -->\nstale\n<!-- /{name} -->" for name in ("run", "books", "pictures"))


def test_the_page_tells_one_run_with_its_circumstances() -> None:
    """No line of the file is in it; what stands around the places stays."""
    made = page.filled(PLACES, FIGURES, BOOKS)
    assert "stale" not in made and "before books\n<!-- books -->\n```\nWhat became of it\ndifference 0.000\n```" in made
    assert "measured 2026-01-02 on 2 cores (Some CPU)" in made and "commit `abc`: **412 s**" in made
    assert "**20 orders/s**" in made and "**3.2 s**" in made and "9.0 s: the same, line by line" in made
    assert "unclassified" not in made
    assert made == page.filled(made, FIGURES, BOOKS)
    assert all(f"](replay/{name})" in made for name in page.ALT)


@pytest.mark.parametrize("shop", [ShopSays(1.0), ShopSays(1.0, 1.0, False)])
def test_a_run_that_the_shop_does_not_confirm_is_not_told(shop: ShopSays) -> None:
    with pytest.raises(ValueError, match="not those of this replay"):
        page.filled(PLACES, replace(FIGURES, shop=shop), BOOKS)


def test_the_last_whole_run_is_told(tmp_path: Path) -> None:
    """A folder without figures was interrupted."""
    with pytest.raises(FileNotFoundError, match="from its beginning to its end"):
        page.newest(tmp_path)
    for number, name in enumerate(("b", "a", "c")):
        (tmp_path / name).mkdir()
        if name != "c":
            FIGURES.write(tmp_path / name)
            os.utime(tmp_path / name / "figures.json", (number, number))
    assert tmp_path / "a" == page.newest(tmp_path)
    assert FIGURES == Figures.read(tmp_path / "a")


def test_the_page_of_the_project_has_its_places() -> None:
    page.filled(page.PAGE.read_text(), FIGURES, BOOKS)
