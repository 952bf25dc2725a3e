"""A whole mesh for the journeys: the real supervisor, Envoys, services and servers, on a home and ports of its own."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from control import own_mesh, remote
from control.own_mesh import environment_of

ADDRESS = {
    "fullName": "Ada Byron",
    "line1": "1 Mill Lane",
    "city": "Leeds",
    "postalCode": "LS1 1AA",
    "countryCode": "GB",
}


@dataclass
class Shopper:
    """Somebody with a token, who speaks HTTPS."""

    http: httpx.Client
    token: str
    user_id: str
    refresh_token: str = ""

    def send(self, method: str, path: str, body: Any = None, *, key: str = "", **more: Any) -> httpx.Response:
        """Send one request; `key` is its idempotency key."""
        headers = {"authorization": f"Bearer {self.token}"} if self.token else {}
        if key:
            headers["idempotency-key"] = key
        return self.http.request(method, path, json=body, headers={**headers, **more.pop("headers", {})}, **more)

    def ok(self, method: str, path: str, body: Any = None, *, key: str = "") -> Any:
        """Send one request and return the JSON of its answer, which must be a success."""
        response = self.send(method, path, body, key=key)
        assert response.status_code == 200, f"{method} {path}: {response.status_code} {response.text}"
        return response.json()

    def top_up(self, minor: int = 100_000) -> None:
        """Pay into the wallet by card."""
        body = {"amount": gbp(minor), "cardToken": "tok_visa"}
        self.ok("POST", "/v1/wallet:topUp", body, key=str(uuid4()))

    def order_body(self, lines: list[tuple[str, int]], total: int, **payment: Any) -> dict[str, Any]:
        """Return the body of an order from lines, from the wallet unless told otherwise."""
        return {
            "expectedTotal": gbp(total),
            "shippingAddress": ADDRESS,
            "contactEmail": "ada@example.com",
            "payment": payment or {"wallet": {}},
            "lines": [{"sku": sku, "quantity": quantity} for sku, quantity in lines],
        }

    def order(self, order_id: str) -> Any:
        """Return one of the shopper's orders as it is now."""
        return self.ok("GET", f"/v1/orders/{order_id}")["order"]

    def balance(self) -> int:
        """Return what the wallet can spend, in pence."""
        return int(self.ok("GET", "/v1/wallet")["wallet"]["balance"]["minorUnits"])


@dataclass
class RunningMesh:
    """One mesh, and what a stranger can do with it: its endpoints, its commands, its shoppers."""

    home: Path
    environment: dict[str, str]
    endpoints: dict[str, Any] = field(default_factory=dict)

    def control(self, *arguments: str, timeout: float = 90) -> subprocess.CompletedProcess[str]:
        """Run `python -m control ...`."""
        return own_mesh.control(self.environment, *arguments, timeout_seconds=timeout)

    def row(self, name: str) -> dict[str, Any]:
        """Return what the status says of one process."""
        status = remote.ask(self.home / "run" / "supervisor.sock", {"do": "status"})
        return next(row for row in status["processes"] if row["name"] == name)

    def restart(self, name: str, *settings: str) -> None:
        """Restart a process, this once with settings, and wait until the new one serves."""
        before = self.row(name)["pid"]
        restarted = self.control("restart", name, *settings)
        assert restarted.returncode == 0, restarted.stdout + restarted.stderr
        until(lambda: self.row(name)["pid"] not in (before, None), seconds=20)
        until(lambda: self.row(name)["healthy"], seconds=20)

    @contextmanager
    def suspended(self, name: str) -> Iterator[None]:
        """Let a process hang, as one does whose machine is lost: its connections stay open and nothing answers."""
        assert self.control("kill", name, "SIGSTOP").returncode == 0
        try:
            yield
        finally:
            assert self.control("kill", name, "SIGCONT").returncode == 0
            until(lambda: self.row(name)["healthy"])

    def read_endpoints(self) -> dict[str, Any]:
        """Read endpoints.json as it is now."""
        self.endpoints = json.loads((self.home / "endpoints.json").read_text())
        return self.endpoints

    def http(self) -> httpx.Client:
        """Return a client of the edge that believes the local authority alone."""
        trust = ssl.create_default_context(cafile=self.endpoints["ca"])
        return httpx.Client(base_url=self.endpoints["edge"], verify=trust, timeout=20)

    def guest(self) -> Shopper:
        """Return a new guest."""
        return self._session("/v1/sessions:guest", {})

    def sign_in(self, email: str, password: str) -> Shopper:
        """Return whoever has these credentials."""
        return self._session("/v1/sessions", {"email": email, "password": password})

    def admin(self) -> Shopper:
        """Return the administrator."""
        return self.sign_in(self.endpoints["admin_email"], self.endpoints["admin_password"])

    def product(self, price: int = 1250, stock: int = 100) -> str:
        """Put a new product on the shelf and return its SKU."""
        admin, sku = self.admin(), f"JRN-{uuid4().hex[:8]}"
        variant = {"sku": sku, "price": gbp(price)}
        admin.ok("POST", "/v1/products", {"product": {"title": f"Journey {sku}", "variants": [variant]}})
        if stock:
            self.adjust(sku, stock)
        return sku

    def adjust(self, sku: str, delta: int) -> None:
        """Receive or write off units."""
        body = {"delta": delta, "reason": "journey", "requestId": str(uuid4())}
        self.admin().ok("POST", f"/v1/inventory/{sku}:adjust", body)

    def stock(self, sku: str) -> tuple[int, int, int]:
        """Return what is on hand, reserved and available."""
        stock = self.admin().ok("GET", f"/v1/inventory/{sku}")["stock"]
        return int(stock["onHand"]), int(stock["reserved"]), int(stock["available"])

    def _session(self, path: str, body: dict[str, str]) -> Shopper:
        http = self.http()
        response = http.post(path, json=body)
        assert response.status_code == 200, f"{path}: {response.status_code} {response.text}"
        answer = response.json()
        return Shopper(http, answer["accessToken"], answer["userId"], answer["refreshToken"])


def gbp(minor: int) -> dict[str, str]:
    """Return an amount as the edge writes it."""
    return {"currencyCode": "GBP", "minorUnits": str(minor)}


def reason(response: httpx.Response) -> str:
    """Return the reason inside an error's body."""
    details = response.json()["error"]["details"]
    return next(d["reason"] for d in details if d["@type"].endswith("google.rpc.ErrorInfo"))


def until(condition: Callable[[], Any], *, seconds: float = 10.0) -> Any:
    """Wait until a condition holds and return what it gave; a journey sees only what a stranger sees."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {seconds:g} s"
        time.sleep(0.05)


@pytest.fixture(scope="package")
def mesh() -> Iterator[RunningMesh]:
    """One mesh for all journeys, at the load profile: buckets have tests of their own."""
    with tempfile.TemporaryDirectory(prefix="titan-j", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)
        running = RunningMesh(Path(folder, "m"), environment_of(Path(folder, "m")))
        try:
            started = running.control("up", "--profile", "load")
            assert started.returncode == 0, started.stdout + started.stderr
            running.read_endpoints()
            yield running
        finally:
            # Its processes die with it. An orderly end takes ten times as long, and has tests of its own.
            with suppress(FileNotFoundError, ProcessLookupError):
                os.kill(int((running.home / "run" / "supervisor.pid").read_text()), signal.SIGKILL)
