"""The README's section "Calling it", run as it is written."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest

from tests.journeys.conftest import ROOT, RunningMesh

EVENT = re.compile(r"^Order\w+ [0-9a-f-]{36}$", re.MULTILINE)
BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks() -> list[str]:
    """Return the blocks of the section, in their order."""
    section = (ROOT / "README.md").read_text().split("\n## Calling it\n")[1].split("\n## ")[0]
    return BLOCK.findall(section)


@pytest.mark.timeout(60)
def test_every_block_of_the_readme_does_what_it_says(mesh: RunningMesh) -> None:
    """An order each by curl, buf curl and Python, by grpcurl too where there is one; an import; a consumer."""
    kept = [block for block in blocks() if not block.startswith("grpcurl") or shutil.which("grpcurl")]
    ordering = [block for block in kept if "my-first-order" in block or "CheckoutService" in block]
    assert (len(kept), len(ordering)) in {(7, 4), (6, 3)}
    script = "\n".join(["set -euo pipefail", *kept, 'titan /v1/orders -H "$guest"'])

    ran = subprocess.run(
        ["bash", "-c", script],
        cwd=ROOT,
        env={**mesh.environment, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )

    assert ran.returncode == 0, ran.stdout + ran.stderr
    orders = json.loads(ran.stdout.splitlines()[-1])["orders"]
    assert [order["status"] for order in orders] == ["CONFIRMED"] * len(ordering)
    assert {order["total"]["minorUnits"] for order in orders} == {"2500"}
    assert len(EVENT.findall(ran.stdout)) == 4
    assert re.search(r'"state": ?"SUCCEEDED".*"created": ?"1"', ran.stdout)
