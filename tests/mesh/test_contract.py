"""The contract says what the protos say, and names what is wrong with them."""

from __future__ import annotations

import pytest

from mesh import contract
from mesh.contract import AccessKind, Idempotency
from mesh.interceptors.access import Access
from mesh.interceptors.chain import Chain
from tests.harness import titan_contract
from tests.mesh.sample import QUIET, SAMPLE, broken_pb, sample_contract


def method(name: str):
    return sample_contract().methods[f"/{SAMPLE}/{name}"]


def test_a_method_carries_its_rules():
    """Access, idempotency, deadline, key and header are read from the options."""
    change, hurry = method("Change"), method("Hurry")

    assert change.access.kind is AccessKind.CUSTOMER
    assert change.idempotency is Idempotency.IDEMPOTENT
    assert (change.has_request_id, change.request_id_required, change.may_retry) == (True, True, True)
    assert change.headers == {"idempotency-key": "request_id"}
    assert (change.default_seconds, change.cap_seconds) == (5.0, 30.0)
    assert (hurry.default_seconds, hurry.cap_seconds, hurry.may_retry) == (0.15, 0.3, False)
    assert method("Administer").access.roles == {"admin", "finance"}
    assert not method("Echo").is_mutation


def test_routes_include_additional_bindings():
    """One method may answer under several URLs; variables are paths into the request."""
    routes = [(r.rule.verb, r.rule.template, r.rule.variables, r.method.name) for r in sample_contract().routes()]

    assert ("GET", "/v1/samples/{item.sku}", ("item.sku",), "Echo") in routes
    assert ("POST", "/v1/samples:echo", (), "Echo") in routes


def test_views_tell_people_from_packages():
    """A service whose every method is for packages has nothing for the edge."""
    assert [service.name for service in sample_contract().service_only()] == [QUIET]
    assert [service.name for service in sample_contract().public_services()] == [SAMPLE]
    assert {m.name for m in sample_contract().streaming_methods()} == {"Watch", "WatchBriefly"}
    assert len(sample_contract().access_matrix()) == len(sample_contract().methods)


def test_a_good_contract_has_no_problems():
    """Neither the sample's nor Titan's own."""
    assert sample_contract().problems() == []
    assert titan_contract().problems() == []
    assert "titan.order.v1.OrderService" in titan_contract().services


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("NoAccess", "no access rule"),
        ("TwoKinds", "exactly one kind of caller, it names 2"),
        ("NoLevel", "no idempotency_level"),
        ("UnknownRole", "unknown roles: emperor"),
        ("UndefinedVariable", "variable nothing is no field"),
        ("SameRoute", "is already titan_test.v1.BrokenService.UndefinedVariable"),
        ("Uploads", "no client streams"),
    ],
)
def test_every_mistake_is_named(name, problem):
    """Each with its method, so that whoever reads it knows where to go."""
    problems = contract.of_files([broken_pb.DESCRIPTOR]).problems()

    assert any(line.startswith(f"titan_test.v1.BrokenService.{name}:") and problem in line for line in problems)


def test_a_method_without_an_access_rule_stops_the_start():
    """The chain of a server is not built, and the message names the method."""
    broken = contract.of_files([broken_pb.DESCRIPTOR])

    with pytest.raises(contract.ContractProblem, match=r"BrokenService\.NoAccess: no access rule"):
        Chain(broken, [])
    with pytest.raises(contract.ContractProblem, match="NoAccess"):
        Access().check_of(broken.methods["/titan_test.v1.BrokenService/NoAccess"])
