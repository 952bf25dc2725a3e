"""The endpoint file of a package always names exactly the replicas that joined and did not leave."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from control.envoy_names import endpoints_file
from control.home import Home, Ports
from control.membership import Membership


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """An empty home."""
    made = Home(tmp_path, Ports())
    made.create()
    return made


def test_replicas_join_and_leave(home: Home) -> None:
    """In the order in which they came; twice is once."""
    membership = Membership(home)
    first, second = home.app_socket("svc_a", 0), home.app_socket("svc_a", 1)
    assert [] == membership.members("svc_a")

    membership.join("svc_a", first)
    membership.join("svc_a", second)
    membership.join("svc_a", second)
    assert [first, second] == membership.members("svc_a")

    membership.leave("svc_a", first)
    membership.leave("svc_a", first)
    assert [second] == Membership(home).members("svc_a")


def test_a_package_without_replicas_has_a_file(home: Home) -> None:
    """Envoy wants the file when it starts, before the first replica serves."""
    Membership(home).replace("svc_a", [])

    resource = json.loads(endpoints_file(home, "svc_a").read_text())["resources"][0]
    assert "app_svc_a" == resource["cluster_name"]
    assert [] == resource["endpoints"]
    assert [endpoints_file(home, "svc_a")] == list((home.run / "xds").iterdir())
