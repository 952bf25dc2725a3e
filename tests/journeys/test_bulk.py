"""Long jobs through the edge: a catalogue from a file, an order of what it brought, and a report that has it."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from control import supervised
from svc_bulk.app import NICENESS
from tests.journeys.conftest import RunningMesh, Shopper, reason
from tests.priorities import niceness_of, own_niceness


def done(admin: Shopper, **job: Any) -> dict[str, Any]:
    """Start an operation and wait for its end."""
    started = admin.ok("POST", "/v1/operations", {"job": job}, key=str(uuid4()))["operation"]
    for _ in range(3):
        operation: dict[str, Any] = admin.ok("GET", f"/v1/operations/{started['operationId']}:wait?timeoutSeconds=10")[
            "operation"
        ]
        if operation["done"]:
            break
    assert "SUCCEEDED" == operation["state"], operation
    return operation


def file_of(admin: Shopper, content: str) -> str:
    """Send a CSV file as it is and return its id."""
    headers = {"authorization": f"Bearer {admin.token}", "content-type": "text/csv"}
    response = admin.http.post("/v1/files?name=rows.csv&format=CSV", content=content, headers=headers)
    assert 200 == response.status_code, response.text
    return str(response.json()["file"]["fileId"])


@pytest.mark.timeout(120)
def test_what_a_file_brings_can_be_bought_and_is_in_the_report(mesh: RunningMesh) -> None:
    """Products, stock and price by file; then an order; then the report, with its page."""
    admin, sku = mesh.admin(), f"bulk-{uuid4().hex[:12]}"
    products = f'sku,price_minor,title\n{sku},700,"A plate, white"\nbad sku ,1,Bad\n'
    imported = done(admin, productImport={"fileId": file_of(admin, products)})
    done(admin, stockUpdate={"fileId": file_of(admin, f"sku,on_hand\n{sku},5\n")})
    done(admin, priceUpdate={"fileId": file_of(admin, f"sku,price_minor\n{sku},750\n")})

    assert ("1", "1") == (imported["progress"]["created"], imported["progress"]["refused"])
    problems = admin.ok("GET", f"/v1/operations/{imported['operationId']}/problems")["problems"]
    assert [("3", "ROW_INVALID")] == [(each["rowNumber"], each["reason"]) for each in problems]

    shopper = mesh.guest()
    shopper.top_up()
    placed = shopper.ok("POST", "/v1/orders", shopper.order_body([(sku, 2)], 1500), key=str(uuid4()))["order"]
    assert "CONFIRMED" == placed["status"]

    report = done(admin, salesReport={})
    files = {each["name"]: each for each in report["files"]}
    table = admin.send("GET", f"/v1/files/{files['sales_by_product.csv']['fileId']}:read")
    page = admin.send("GET", f"/v1/files/{files['sales_report.html']['fileId']}:read")
    assert f'{sku},GBP,"A plate, white",1,2,0,1500' in table.text
    assert table.headers["content-type"].startswith("text/csv")
    assert page.headers["content-type"].startswith("text/html") and "<svg" in page.text

    done(admin, repricing={"products": {"skus": [sku]}, "percent": "-12.5", "roundToMinor": 100, "endingMinor": 99})
    export = done(admin, productExport={"format": "NDJSON"})
    [written] = export["files"]
    [line] = [
        each for each in admin.send("GET", f"/v1/files/{written['fileId']}:read").text.splitlines() if sku in each
    ]
    assert '"minorUnits":"699"' in line


def test_a_shopper_starts_no_operations_and_sees_none(mesh: RunningMesh) -> None:
    """Nor do they read what operations wrote."""
    shopper = mesh.guest()
    body = {"job": {"salesReport": {}}}
    for response in (
        shopper.send("POST", "/v1/operations", body, key="mine"),
        shopper.send("GET", "/v1/operations"),
        shopper.send("GET", f"/v1/files/{uuid4()}:read"),
    ):
        assert (403, "ACCESS_DENIED") == (response.status_code, reason(response))


def test_jobs_leave_the_processors_to_shoppers(mesh: RunningMesh) -> None:
    """All threads of the process that works them off are of lower priority than those of the ones that serve."""
    mine = own_niceness(below=NICENESS - supervised.NICENESS)
    found = {name: set(niceness_of(mesh.row(name)["pid"])) for name in ("svc_bulk", "svc_order")}
    assert {"svc_bulk": {NICENESS}, "svc_order": {mine + supervised.NICENESS}} == found
