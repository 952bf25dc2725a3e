"""Which package calls which method of which other package, as its source says."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from mesh.auth_feed import AUTH_SERVICE
from mesh.topology import Topology
from tests.contracts.reading import ROOT
from tests.harness import titan_contract

FOLLOWED_BY_THE_RUNTIME = ("GetJwks", "WatchRevocations")
"""What `mesh.auth_feed` calls for every package but the one that hosts AuthService."""


@dataclass(frozen=True, order=True)
class Call:
    """One package's use of one method."""

    caller: str
    service: str
    method: str

    def __str__(self) -> str:
        return f"{self.caller} -> {self.service.removeprefix('titan.')}.{self.method}"


def calls_of(package: str) -> set[Call]:
    """Return the calls that a package makes: the stubs it asks `Clients` for, and their methods that it names.

    A handler is named like the method it serves, but it is defined, not read from an object, so it does not count.
    """
    trees = [ast.parse(path.read_text()) for path in sorted((ROOT / package).rglob("*.py"))]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    stubs = {
        node.args[0].attr.removesuffix("Stub"): node.args[0].value.id
        for node in nodes
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "get"
        and len(node.args) == 1
        and isinstance(node.args[0], ast.Attribute)
        and node.args[0].attr.endswith("Stub")
        and isinstance(node.args[0].value, ast.Name)
    }
    read = {node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)}
    found = set()
    for service in titan_contract().services.values():
        module = service.descriptor.file.name.rpartition("/")[2].removesuffix(".proto") + "_pb2_grpc"
        if stubs.get(service.name.rpartition(".")[2]) == module:
            found |= {Call(package, service.name, method.name) for method in service.methods if method.name in read}
    return found


def calls_of_the_runtime(topology: Topology) -> Iterator[Call]:
    """Yield what `mesh` calls on behalf of each package that verifies tokens: those that people call."""
    host = topology.host_of(AUTH_SERVICE).name
    outward = {service.name for service in titan_contract().public_services()}
    for name, package in topology.packages.items():
        if outward & set(package.services) and name != host:
            yield from (Call(name, AUTH_SERVICE, method) for method in FOLLOWED_BY_THE_RUNTIME)


def stub_names(package: str) -> set[str]:
    """Return every name of a stub class in a package's source, however it is used."""
    names = set()
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr.endswith("ServiceStub"):
                names.add(node.attr)
    return names
