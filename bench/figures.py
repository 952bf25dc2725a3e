"""`make figures`: what a mesh costs at rest, and what one order costs in time and in CPU.

It measures the mesh that runs on TITAN_HOME, which has to have been started with the profile `load`, and prints
Markdown with the method beside each figure. Orders go one at a time over one HTTPS connection, so it is a measure of
latency, never of throughput. It places some 330 small orders of products that it makes for itself, and stops by itself.
"""

from __future__ import annotations

import http.client
import json
import os
import platform
import ssl
import statistics
import sys
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psutil

from bench.rig import cpu
from bench.rig.cpu import CLIENT, SUPERVISOR
from bench.rig.memory import occupied as occupied_by
from control import remote
from control.home import Home
from control.remote import NotRunning

WARM_UP_ORDERS = 30
ORDERS = 300
LINES_PER_ORDER = 3
PRICE_MINOR = 100
REST_SECONDS = 5.0
SETTLE_SECONDS = 2.0
"""What follows an order (capture, events, the receipt) belongs to its CPU; this long after the last one it is done."""

MOST_SECONDS = 120.0
"""A mesh that is slower than this for all orders together has no figure worth printing."""


class Unmeasured(Exception):
    """There is nothing to measure, or it went wrong; the message is for whoever asked."""


@dataclass(frozen=True)
class Figure:
    """One line of the table."""

    what: str
    value: str
    method: str


class Edge:
    """One HTTPS connection to the edge, with as little of a client as can be."""

    def __init__(self, url: str, ca: str) -> None:
        """Describe the connection; it is opened by the first call."""
        address = urlsplit(url)
        trust = ssl.create_default_context(cafile=ca)
        assert address.hostname is not None
        self._connection = http.client.HTTPSConnection(address.hostname, address.port, context=trust, timeout=20)

    def post(self, path: str, body: Any, *, token: str = "", key: str = "") -> Any:
        """Send one POST and return the JSON of its answer.

        Raises:
            Unmeasured: The answer was no success.
        """
        headers = {"content-type": "application/json"}
        if key:
            headers["idempotency-key"] = key
        return json.loads(self.send("POST", path, json.dumps(body).encode(), headers, token=token))

    def send(self, verb: str, path: str, body: bytes | None, headers: dict[str, str], *, token: str = "") -> bytes:
        """Send one request and return the body of its answer.

        Raises:
            Unmeasured: The answer was no success.
        """
        if token:
            headers = {**headers, "authorization": f"Bearer {token}"}
        self._connection.request(verb, path, body, headers)
        response = self._connection.getresponse()
        answer = response.read()
        if response.status != 200:
            raise Unmeasured(f"{verb} {path} was answered {response.status}: {answer.decode(errors='replace')[:500]}")
        return answer


def main() -> int:
    """Measure and print; returns the exit status."""
    try:
        for line in measure(Home.from_environment()):
            print(line, flush=True)
    except (NotRunning, FileNotFoundError):
        print("No mesh is running. Start one: make up PROFILE=load", file=sys.stderr)
        return 3
    except Unmeasured as problem:
        print(problem, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted; the mesh is still running: make down", file=sys.stderr)
        return 130
    return 0


def measure(home: Home) -> list[str]:
    """Return the lines to print: the machine, the table of figures, the table of CPU by process."""
    status = remote.ask(home.supervisor_socket, {"do": "status"})
    endpoints = json.loads(home.endpoints.read_text())
    if status["profile"] != "load":
        raise Unmeasured("The limits of this mesh would be measured: make down, then make up PROFILE=load.")
    busy = os.getloadavg()[0]
    processes = {row["name"]: row["pid"] for row in status["processes"]}
    processes |= {SUPERVISOR: int(home.supervisor_pid.read_text()), CLIENT: os.getpid()}

    memory = sum(row["memory_bytes"] for row in status["processes"])
    memory += psutil.Process(processes[SUPERVISOR]).memory_info().rss
    # The supervisor is the parent of all; each of them stands for its own children.
    occupied = sum(occupied_by(pid, alone=name == SUPERVISOR) for name, pid in processes.items() if name != CLIENT)
    _say(f"measuring {REST_SECONDS:g} s at rest")
    rest = sum(_spent(processes, lambda: time.sleep(REST_SECONDS)).values()) / REST_SECONDS

    edge = Edge(endpoints["edge"], endpoints["ca"])
    order = Shopper(edge, endpoints, orders=WARM_UP_ORDERS + ORDERS)
    _say(f"{WARM_UP_ORDERS} orders to warm up, then {ORDERS}")
    order.place(WARM_UP_ORDERS)
    latencies: list[float] = []

    def orders() -> None:
        latencies.extend(order.place(ORDERS))
        time.sleep(SETTLE_SECONDS)

    cpu = _spent(processes, orders)
    return [*_machine(busy), *_figures(status["ready_seconds"], memory, occupied, rest, latencies), *_by_process(cpu)]


def sign_in(edge: Edge, endpoints: dict[str, Any]) -> str:
    """Return a token of the administrator."""
    credentials = {"email": endpoints["admin_email"], "password": endpoints["admin_password"]}
    token: str = edge.post("/v1/sessions", credentials)["accessToken"]
    return token


class Shopper:
    """A guest with a wallet for so many orders, and the order that is placed again and again."""

    def __init__(self, edge: Edge, endpoints: dict[str, Any], *, orders: int) -> None:
        """Make the products, the guest and the money."""
        self._edge = edge
        admin = sign_in(edge, endpoints)
        self._token = edge.post("/v1/sessions:guest", {})["accessToken"]
        units = orders
        lines = []
        for _ in range(LINES_PER_ORDER):
            sku = f"FIG-{uuid4().hex[:12]}"
            variants = [{"sku": sku, "price": _gbp(PRICE_MINOR)}]
            edge.post("/v1/products", {"product": {"title": f"Figure {sku}", "variants": variants}}, token=admin)
            received = {"delta": units, "reason": "figures", "requestId": sku}
            edge.post(f"/v1/inventory/{sku}:adjust", received, token=admin)
            lines.append({"sku": sku, "quantity": 1})
        paid = {"amount": _gbp(units * LINES_PER_ORDER * PRICE_MINOR), "cardToken": "tok_visa"}
        edge.post("/v1/wallet:topUp", paid, token=self._token, key=str(uuid4()))
        address = {"fullName": "Ada Byron", "line1": "1 Mill Lane", "city": "Leeds", "countryCode": "GB"}
        self._body = {
            "lines": lines,
            "expectedTotal": _gbp(LINES_PER_ORDER * PRICE_MINOR),
            "shippingAddress": address,
            "contactEmail": "figures@example.com",
            "payment": {"wallet": {}},
        }

    def place(self, count: int) -> list[float]:
        """Place orders one after the other and return the seconds of each; every one has to be confirmed."""
        seconds = []
        deadline = time.monotonic() + MOST_SECONDS
        for _ in range(count):
            started = time.perf_counter()
            answer = self._edge.post("/v1/orders", self._body, token=self._token, key=str(uuid4()))
            seconds.append(time.perf_counter() - started)
            if answer["order"]["status"] != "CONFIRMED":
                raise Unmeasured(f"An order became {answer['order']['status']}: {answer}")
            if time.monotonic() > deadline:
                raise Unmeasured(f"Given up: {len(seconds)} orders took more than {MOST_SECONDS:g} s.")
        return seconds


def _spent(processes: dict[str, int], work: Any) -> dict[str, float]:
    """Return the CPU seconds that each process and its children spend while something is done."""
    try:
        before = cpu.spent(processes)
        work()
        return {name: spent - before[name] for name, spent in cpu.spent(processes).items()}
    except cpu.Ended as problem:
        raise Unmeasured(str(problem)) from problem


def _machine(busy: float) -> list[str]:
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "")
    return [
        f"{os.cpu_count()} cores{f' ({model})' if model else ''}, Linux {platform.release()}, "
        f"Python {platform.python_version()}; load average before: {busy:.2f}.",
        "",
    ]


def _figures(ready_seconds: float, memory: int, occupied: int, rest: float, latencies: list[float]) -> list[str]:
    ordered = sorted(latencies)
    p99 = ordered[int(len(ordered) * 0.99)]
    orders = f"{len(ordered)} orders of {LINES_PER_ORDER} lines from a wallet"
    method = f"{orders}, one at a time over one HTTPS connection, after"
    figures = [
        Figure("ready", f"{ready_seconds:.1f} s", "supervisor: from its start until every process is healthy"),
        Figure(
            "memory at rest",
            f"{memory / 1e9:.2f} GB",
            "resident, all processes and the supervisor; libraries that processes share are counted in each",
        ),
        Figure(
            "memory that it occupies",
            f"{occupied / 1e9:.2f} GB",
            "the same processes; a page that several share is counted once (proportional set size)",
        ),
        Figure("CPU at rest", f"{rest:.1%} of one core", f"all processes over {REST_SECONDS:g} s without a call"),
        Figure("PlaceOrder, p50", _milliseconds(statistics.median(ordered)), f"{method} {WARM_UP_ORDERS} to warm up"),
        Figure("PlaceOrder, p99", _milliseconds(p99), "the same orders"),
    ]
    rows = [f"| {figure.what} | {figure.value} | {figure.method} |" for figure in figures]
    return ["| what | figure | method |", "|---|---|---|", *rows, ""]


def _by_process(cpu: dict[str, float]) -> list[str]:
    """Return the table of CPU by process, the most expensive first; what is too little to show is added up."""
    client = cpu.pop(CLIENT)
    each = {name: seconds * 1000 / ORDERS for name, seconds in cpu.items()}
    shown = {name: spent for name, spent in sorted(each.items(), key=lambda item: -item[1]) if spent >= 0.05}
    rest = abs(sum(each.values()) - sum(shown.values()))
    rows = [f"| {name} | {spent:.2f} |" for name, spent in shown.items()]
    return [
        f"CPU of one order: user and system time of each process and its children over the same {ORDERS} orders and "
        f"the {SETTLE_SECONDS:g} s after them, divided by {ORDERS}.",
        "",
        "| process | ms of CPU |",
        "|---|---|",
        *rows,
        f"| all others | {rest:.2f} |",
        f"| **the mesh** | **{sum(each.values()):.2f}** |",
        f"| {CLIENT} | {client * 1000 / ORDERS:.2f} |",
    ]


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def _gbp(minor: int) -> dict[str, Any]:
    return {"currencyCode": "GBP", "minorUnits": minor}


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
