"""Two more edges before one mesh, at the limits of every day: two doors, and no more tries than at one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx
import pytest

from control import render, topology_file
from control.envoy_names import EDGE, access_log, admin_socket, config_file
from control.home import Home, Ports
from control.render import Options, Surface
from control.servers import envoy
from control.servers.ports import claim_block
from mesh import contract, topology
from tests.journeys.conftest import RunningMesh, reason, until
from tests.raw_http import trust_in

LIMITS = topology.load(topology_file.path()).limits["default"]
PATIENCE_SECONDS = 2.0
"""Longer than the shipped edge waits for an answer, so that a machine that is busy changes no count here."""


@dataclass
class Doors:
    """The two edges, which differ in their port alone."""

    mesh: RunningMesh
    urls: list[str]
    tried: int = 0
    clients: list[httpx.Client] = field(default_factory=list)

    def opened_from(self, address: str) -> list[httpx.Client]:
        """Return a client of each that calls from this address."""
        trust = trust_in(self.mesh.endpoints["ca"])
        made = [
            httpx.Client(base_url=url, transport=httpx.HTTPTransport(verify=trust, local_address=address), timeout=20)
            for url in self.urls
        ]
        self.clients += made
        return made


@pytest.fixture(scope="module")
def doors(mesh: RunningMesh) -> Iterator[Doors]:
    """Two edges, rendered as the mesh's own is, but for its profile."""
    home = Home.from_environment(mesh.environment)
    running, urls, surface = [], [], Surface.of(contract.load())
    options = Options(profile="default", shared_seconds=PATIENCE_SECONDS)
    for name in ("door_a", "door_b"):
        elsewhere = Home(home.path, Ports(claim_block()))
        text = render.render(topology.load(topology_file.path()), elsewhere, surface, options)[EDGE]
        for path_of in (admin_socket, access_log):
            text = text.replace(str(path_of(home, EDGE)), str(path_of(home, name)))
        config_file(home, name).write_text(text)
        admin, log = admin_socket(home, name), home.log_file(name)
        running.append((envoy.start(name, config_file(home, name), admin, log), admin))
        urls.append(f"https://127.0.0.1:{elsewhere.ports.edge}")
    opened = Doors(mesh, urls)
    yield opened
    for client in opened.clients:
        client.close()
    for process, admin in running:
        envoy.stop(process, admin, drain_seconds=0)


def tries_from(doors: Doors, address: str) -> tuple[int, float, httpx.Response]:
    """Try cards at both doors in turn until each refuses.

    Returns how many tries came through, within how many seconds, and the last refusal.
    """
    both, began, passed = doors.opened_from(address), time.monotonic(), 0
    refusals: dict[int, httpx.Response] = {}
    for number in range(4 * LIMITS.payments.burst):
        which = number % 2
        answer = both[which].post("/v1/wallet:topUp", json={})
        if answer.status_code == 429:
            refusals[which] = answer
            if len(refusals) == 2:
                return passed, time.monotonic() - began, answer
        else:
            assert 401 == answer.status_code, answer.text  # nobody is signed in; the edge counts before that
            passed += 1
    raise AssertionError(f"{passed} tries came through")


def check_together(doors: Doors, address: str) -> None:
    """Try cards from an address that nobody used, and hold what came through against one bucket."""
    bucket = LIMITS.payments
    passed, seconds, refused = tries_from(doors, address)

    assert bucket.burst <= passed <= bucket.burst + seconds * bucket.per_second
    assert "OVERLOADED" == reason(refused)
    assert 1 <= int(refused.headers["retry-after"]) <= 1 / bucket.per_second


def test_two_doors_let_through_what_one_would(doors: Doors) -> None:
    """One bucket of an address, whichever door it takes; another address has its own."""
    check_together(doors, "127.0.11.1")
    check_together(doors, "127.0.11.2")


def test_without_redis_neither_is_closed_and_then_they_count_together_again(doors: Doors) -> None:
    """Whoever calls meanwhile is let through by what each door has counted itself."""
    mesh = doors.mesh
    check_together(doors, "127.0.11.3")
    assert mesh.control("hold", "valkey").returncode == 0
    try:
        codes = [client.post("/v1/wallet:topUp", json={}).status_code for client in doors.opened_from("127.0.11.3")]
    finally:
        assert mesh.control("release", "valkey").returncode == 0
    assert [401, 401] == codes
    for name in ("valkey", "svc_cart", "svc_limits"):
        until(lambda name=name: mesh.row(name)["healthy"], seconds=20)

    check_together(doors, "127.0.11.4")
