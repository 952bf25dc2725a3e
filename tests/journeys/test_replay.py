"""A day of a real shop, replayed through the edge to the penny."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.journeys.conftest import ROOT, RunningMesh
from tests.replay.files import REAL, needs_the_real_file


@pytest.mark.timeout(120)
@needs_the_real_file
def test_a_day_of_invoices_comes_out_to_the_penny_and_again_the_same(mesh: RunningMesh) -> None:
    """Every invoice is one confirmed order; a replay that is repeated places nothing twice, and says so."""
    for counts in ("127 placed now, 0 were there already", "0 placed now, 127 were there already"):
        replay = subprocess.run(
            [sys.executable, "-m", "replay", "--csv", str(REAL), "--from", "2010-12-01", "--days", "1"],
            cwd=ROOT,
            env=mesh.environment,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert replay.returncode == 0, replay.stdout + replay.stderr
        assert "127 of 127 invoices, 127 CONFIRMED" in replay.stdout
        assert counts in replay.stdout
        assert replay.stdout.count("GBP 58,960.79") == 2
        assert "26  cancellation of an earlier invoice" in replay.stdout
    assert mesh.admin().ok("GET", "/v1/ledger:verify")["balanced"] is True
