"""What is told of projections: their digests, what differs, and the exit status."""

from __future__ import annotations

import pytest

from mesh.projections import Outcome
from rebuild import run

FOUND, OTHER = "ab" * 32, "cd" * 32


def outcome(found: str = FOUND, *differences: str) -> Outcome:
    return Outcome("orders", 12345, 678, found, FOUND, differences, seconds=1.25, held_seconds=0.125)


@pytest.mark.parametrize("changed", [True, False])
def test_a_difference_is_told_and_is_the_exit_status(capsys: pytest.CaptureFixture[str], changed: bool) -> None:
    """Whether it was mended or only looked at."""
    assert 0 == run.told([outcome()], changed=changed)
    assert "all are what their journals amount to" in capsys.readouterr().out
    assert 1 == run.told([outcome(), outcome(OTHER, "orders 7: total_minor differ from the journal")], changed=changed)
    shown = capsys.readouterr().out
    assert "orders 7: total_minor differ from the journal" in shown and "12,345" in shown and OTHER in shown
    assert ("is made again from it" in shown) == changed == ("0.12 s" in shown)


def test_an_unknown_projection_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["rebuild", "orders", "carts"])
    with pytest.raises(SystemExit):
        run.main()
    assert "there is no projection carts: orders, stock, wallets" in capsys.readouterr().err


def test_without_a_mesh_it_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    monkeypatch.setattr("sys.argv", ["rebuild", "--check"])
    monkeypatch.setenv("TITAN_HOME", str(tmp_path))
    monkeypatch.setenv("TITAN_PORT_BASE", "19600")
    assert 1 == run.main()
    assert "no mesh is running here" in capsys.readouterr().out
