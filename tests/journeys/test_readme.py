"""The README's section "Calling it", and the page of further examples, run as they are written."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import Any

import pytest

from control.topology_file import ROOT
from tests.journeys.conftest import RunningMesh

EVENT = re.compile(r"^Order\w+ [0-9a-f-]{36}$", re.MULTILINE)
BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ORDERS = 'titan /v1/orders -H "$guest"'
BETWEEN = "---- docs/CALLING.md"


def blocks() -> list[str]:
    """Return the blocks of the section, in their order."""
    section = (ROOT / "README.md").read_text().split("\n## Calling it\n")[1].split("\n## ")[0]
    return BLOCK.findall(section)


def further_blocks() -> list[str]:
    """Return the blocks of the page, in their order."""
    return BLOCK.findall((ROOT / "docs" / "CALLING.md").read_text())


@pytest.mark.timeout(90)
def test_every_block_does_what_it_says(mesh: RunningMesh) -> None:
    """An order each by curl, buf curl and Python, by grpcurl too where there is one; an import; a consumer.

    Then the page goes on in the same shell.
    """
    kept = [block for block in blocks() if not block.startswith("grpcurl") or shutil.which("grpcurl")]
    ordering = [block for block in kept if "my-first-order" in block or "CheckoutService" in block]
    assert (len(kept), len(ordering)) in {(7, 4), (6, 3)}
    further = further_blocks()
    script = "\n".join(["set -euo pipefail", *kept, ORDERS, f"echo {BETWEEN}", *further, ORDERS])

    ran = subprocess.run(
        ["bash", "-c", script],
        cwd=ROOT,
        env={**mesh.environment, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        timeout=80,
        check=False,
    )

    assert ran.returncode == 0, ran.stdout + ran.stderr
    said, _, said_further = ran.stdout.partition(f"{BETWEEN}\n")
    orders = json.loads(said.splitlines()[-1])["orders"]
    assert [order["status"] for order in orders] == ["CONFIRMED"] * len(ordering)
    assert {order["total"]["minorUnits"] for order in orders} == {"2500"}
    assert len(EVENT.findall(said)) == 4
    assert re.search(r'"state": ?"SUCCEEDED".*"created": ?"1"', said)
    check_further([json.loads(line) for line in said_further.splitlines()])


def check_further(answers: list[dict[str, Any]]) -> None:
    """Check what the page's blocks printed: the JSON of an answer on each line."""

    def the(name: str) -> list[Any]:
        return [answer[name] for answer in answers if name in answer]

    newest, *_ = the("orders")[-1]
    assert [newest[name] for name in ("status", "paymentStatus")] == ["CANCELLED", "REFUNDED"]
    assert newest["refunded"] == newest["total"] == {"currencyCode": "GBP", "minorUnits": "2500"}
    assert the("wallet")[-1]["balance"]["minorUnits"] == the("wallet")[0]["balance"]["minorUnits"]
    assert the("balanced") == [True, True]
    assert ("PAID", "900") == (the("payout")[-1]["status"], the("payout")[-1]["amount"]["minorUnits"])
    assert [("release", "900")] == [(each["kind"], each["amount"]["minorUnits"]) for each in the("lines")[-1]]
    (done,) = the("operation")
    assert (done["state"], done["progress"]["created"], done["progress"]["refused"]) == ("SUCCEEDED", "1", "1")
    assert [each["rowNumber"] for each in the("problems")[-1]] == ["3"]
    assert the("accessToken")[-1]
