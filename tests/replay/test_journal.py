"""What a replay remembers when it was interrupted."""

from __future__ import annotations

from pathlib import Path

import pytest

from replay.edge import ReplayFailed
from replay.importer import GivenBack, Order
from replay.journal import Journal, digest

ORDER = Order("o-1", "CONFIRMED", 250, "2026-01-02T03:04:05Z")


def test_what_was_noted_is_read_again(tmp_path: Path) -> None:
    """Orders, refunds and deliveries, refused ones too; the last word counts."""
    journal = Journal.open(tmp_path, "a file")
    journal.note_order("1", ORDER)
    journal.note_order("2", Order(refusal="OUT_OF_STOCK"))
    journal.note_refund("return-C3-1-goods", GivenBack(250))
    journal.note_delivery("2010-12-01")
    journal.close()
    again = Journal.open(tmp_path, "a file")
    assert {"1": ORDER, "2": Order(refusal="OUT_OF_STOCK")} == again.orders
    assert ({"return-C3-1-goods": GivenBack(250)}, {"2010-12-01"}) == (again.refunds, again.deliveries)
    again.close()


def test_a_line_that_was_cut_off_is_dropped_and_the_next_is_whole(tmp_path: Path) -> None:
    """Whatever the machine had written of it when it stopped."""
    journal = Journal.open(tmp_path, "a file")
    journal.note_order("1", ORDER)
    journal.note_order("2", ORDER)
    journal.close()
    path = journal.folder / "journal.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    cut = Journal.open(tmp_path, "a file")
    assert ["1"] == list(cut.orders)
    cut.note_order("3", ORDER)
    cut.close()
    again = Journal.open(tmp_path, "a file")
    assert ["1", "3"] == list(again.orders)
    again.close()


def test_another_subject_has_another_journal(tmp_path: Path) -> None:
    """Another file, mesh, part or stock."""
    first, second = Journal.open(tmp_path, "a file", None), Journal.open(tmp_path, "a file", 1)
    first.note_delivery("2010-12-01")
    assert first.folder != second.folder and not second.deliveries
    first.close()
    second.close()


def test_two_replays_of_one_subject_do_not_run_at_once(tmp_path: Path) -> None:
    """The second says so; once the first has ended, however it ended, it goes on."""
    first = Journal.open(tmp_path, "a file")
    with pytest.raises(ReplayFailed, match="another replay of this file is running"):
        Journal.open(tmp_path, "a file")
    first.close()
    Journal.open(tmp_path, "a file").close()


def test_a_file_is_known_by_what_it_holds(tmp_path: Path) -> None:
    for name, text in (("a", "1"), ("b", "1"), ("c", "2")):
        (tmp_path / name).write_text(text)
    assert digest(tmp_path / "a") == digest(tmp_path / "b") != digest(tmp_path / "c")
