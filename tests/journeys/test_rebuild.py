"""Orders, stock and wallets are made again from their journals beside a mesh that runs."""

from __future__ import annotations

import re
import subprocess
import sys
from uuid import uuid4

from control.topology_file import ROOT
from tests.journeys.conftest import RunningMesh

PRICE_MINOR = 1250


def rebuilt(mesh: RunningMesh, *options: str) -> str:
    """Run it as the command does; returns what it says."""
    done = subprocess.run(
        [sys.executable, "-m", "rebuild", *options],
        cwd=ROOT,
        env=mesh.environment,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def digests(said: str, what: str) -> list[str]:
    """Return the digests of one kind, in the order of the projections."""
    return re.findall(rf"\b{what} +([0-9a-f]{{64}})", said)


def test_what_is_made_again_is_what_was_there(mesh: RunningMesh) -> None:
    """Three projections, found and as their journals have them; the shopper's order is the same afterwards."""
    sku, shopper = mesh.product(price=PRICE_MINOR, stock=5), mesh.guest()
    shopper.top_up(2 * PRICE_MINOR)
    body = shopper.order_body([(sku, 2)], 2 * PRICE_MINOR)
    order = shopper.ok("POST", "/v1/orders", body, key=str(uuid4()))["order"]

    said = rebuilt(mesh)
    found = digests(said, "found")
    assert len(found) == 3 and found == digests(said, "journal")

    assert order["status"] == shopper.order(order["orderId"])["status"] == "CONFIRMED"
    assert mesh.stock(sku)[2] == 3 and shopper.balance() == 0
    assert "all are what their journals amount to" in rebuilt(mesh, "--check")
