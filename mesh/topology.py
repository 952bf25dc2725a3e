"""The topology: which package hosts which gRPC service, and who may call it.

Owns the reading and checking of `deploy/topology.toml`. It never renders anything and never reads descriptors itself:
whoever has them hands their names to `Topology.check_against`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

EVERY_OUTWARD_METHOD = "*"
"""Stands for the methods that the world may call, as the contract's access rules say."""

EDGE = "edge"
"""The Envoy that faces the world, where it calls the mesh for itself. It has an identity and hosts nothing, so it is no
package; people's calls travel as edge_http's."""

KNOWN_SERVERS = frozenset({"postgres", "redis", "kafka", "psp", "smtp"})

SHAREABLE = ("sessions", "payments")
"""The buckets of routes that are rare and tempting: a question more for each call is worth an exact count there."""

MAX_BODY_BYTES = 1024 * 1024
"""The largest body of a request that the edge takes: its Envoy holds so much, and edge_http reads so much."""

_BUCKETS = ("address", "user", "sessions", "payments", "body_bytes")


class TopologyError(ValueError):
    """The topology contradicts itself or the contract; the text says where, and how to mend it."""


@dataclass(frozen=True)
class Bucket:
    """A token bucket: `burst` calls or bytes at once, refilled by `per_second` each second."""

    burst: int
    per_second: float


@dataclass(frozen=True)
class Limits:
    """The edge's buckets in one profile; `shared` names those that all edges drain together."""

    address: Bucket
    user: Bucket
    sessions: Bucket
    payments: Bucket
    body_bytes: Bucket
    shared: tuple[str, ...] = ()

    def shared_bucket(self, name: str) -> Bucket | None:
        """Return a bucket that all edges drain together; None where there is none of this name."""
        return getattr(self, name) if name in self.shared else None


@dataclass(frozen=True)
class Package:
    """One package: one database, one identity, and the gRPC services it hosts.

    `index` is its place in the file. `callers` maps each hosted service to the packages that may call it, and `methods`
    to what of it each of them may call; a caller that is not in it may call every method.
    """

    name: str
    index: int
    services: tuple[str, ...]
    needs: frozenset[str]
    callers: Mapping[str, tuple[str, ...]]
    methods: Mapping[str, Mapping[str, tuple[str, ...]]]
    replicas: int = 1


@dataclass(frozen=True)
class Topology:
    """The whole mesh as data. Packages keep the order of the file."""

    trust_domain: str
    cell: str
    token_issuer: str
    token_audience: str
    token_max_lifetime_seconds: int
    allowed_origins: tuple[str, ...]
    limits: Mapping[str, Limits]
    packages: Mapping[str, Package]

    def spiffe_id(self, package: str) -> str:
        """Return the identity that the package's certificate carries."""
        return f"spiffe://{self.trust_domain}/svc/{package}"

    @property
    def developer_id(self) -> str:
        """Return the identity of a person at the developer listener; no package has it."""
        return f"spiffe://{self.trust_domain}/dev/developer"

    @property
    def services(self) -> tuple[str, ...]:
        """Return the full names of all hosted gRPC services, in the order of the file."""
        return tuple(service for package in self.packages.values() for service in package.services)

    def host_of(self, service: str) -> Package:
        """Return the package that hosts a gRPC service.

        Raises:
            TopologyError: No package hosts it.
        """
        for package in self.packages.values():
            if service in package.services:
                return package
        raise TopologyError(f"no package of the topology hosts {service}")

    def callers_of(self, service: str) -> tuple[str, ...]:
        """Return the packages that may call a service."""
        return self.host_of(service).callers[service]

    def may_call(self, caller: str, service: str) -> bool:
        """Tell whether the topology lets a package call a service."""
        return caller in self.callers_of(service)

    def methods_of(self, caller: str, service: str) -> tuple[str, ...] | None:
        """Return the names of the methods that a caller of a service may call, `*` among them; None is all of them."""
        return self.host_of(service).methods[service].get(caller)

    def callable_by(self, caller: str) -> tuple[str, ...]:
        """Return the services that a package may call, in the order of the file."""
        return tuple(service for service in self.services if self.may_call(caller, service))

    def check_against(self, contract: Collection[str]) -> None:
        """Hold the topology against the full service names that the descriptors know.

        Raises:
            TopologyError: A row names a service that the contract lacks, or a service of the contract has no row.
        """
        unknown = [service for service in self.services if service not in contract]
        if unknown:
            raise TopologyError(
                f"the topology hosts {', '.join(unknown)}, but no descriptor has it: mend the name or run `make gen`"
            )
        homeless = sorted(set(contract) - set(self.services))
        if homeless:
            raise TopologyError(
                f"the contract has {', '.join(homeless)}, but no package of the topology hosts it: add it to `services`"
            )


def load(path: str | Path) -> Topology:
    """Read and check a topology file.

    Raises:
        TopologyError: The file is missing, is not TOML, or contradicts itself.
    """
    try:
        raw = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise TopologyError(f"there is no topology at {path}") from error
    except tomllib.TOMLDecodeError as error:
        raise TopologyError(f"{path} is not TOML: {error}") from error
    try:
        return _topology(raw)
    except TopologyError as error:
        raise TopologyError(f"{path}: {error}") from None


def _topology(raw: Mapping[str, Any]) -> Topology:
    _no_others(raw, {"trust_domain", "cell", "tokens", "edge", "limits", "packages"}, "the topology")
    tokens = _get(raw, "tokens", dict, "the topology")
    _no_others(tokens, {"issuer", "audience", "max_lifetime_seconds"}, "[tokens]")
    edge = _get(raw, "edge", dict, "the topology")
    _no_others(edge, {"allowed_origins"}, "[edge]")
    limits = _get(raw, "limits", dict, "the topology")
    if "default" not in limits:
        raise TopologyError("[limits.default] is missing")
    rows = _get(raw, "packages", dict, "the topology")
    packages = {name: _package(name, index, row) for index, (name, row) in enumerate(rows.items())}
    _check_packages(packages)
    return Topology(
        trust_domain=_get(raw, "trust_domain", str, "the topology"),
        cell=_get(raw, "cell", str, "the topology"),
        token_issuer=_get(tokens, "issuer", str, "[tokens]"),
        token_audience=_get(tokens, "audience", str, "[tokens]"),
        token_max_lifetime_seconds=_get(tokens, "max_lifetime_seconds", int, "[tokens]"),
        allowed_origins=_names(edge, "allowed_origins", "[edge]"),
        limits={profile: _limits(profile, row) for profile, row in limits.items()},
        packages=packages,
    )


def _package(name: str, index: int, row: Any) -> Package:
    where = f"[packages.{name}]"
    if not isinstance(row, dict):
        raise TopologyError(f"{where} is not a table")
    _no_others(row, {"services", "needs", "callers", "replicas"}, where)
    services = _names(row, "services", where)
    callers = row.get("callers", {})
    if not isinstance(callers, dict):
        raise TopologyError(f"{where} callers is not a table")
    for service in callers:
        if service not in services:
            raise TopologyError(f"{where} has callers for {service}, which it does not host")
    for service in services:
        if service not in callers:
            raise TopologyError(f"{where} does not say who may call {service}: write an empty list for nobody")
    needs = _names(row, "needs", where)
    for server in needs:
        if server not in KNOWN_SERVERS:
            raise TopologyError(f"{where} needs {server!r}, which is none of {', '.join(sorted(KNOWN_SERVERS))}")
    replicas = _get(row, "replicas", int, where) if "replicas" in row else 1
    if replicas < 1:
        raise TopologyError(f"{where} has {replicas} replicas; at least 1 is needed")
    return Package(
        name=name,
        index=index,
        services=services,
        needs=frozenset(needs),
        callers={service: _callers(callers, service, f"{where} callers") for service in services},
        methods={service: _methods(callers[service], f"{where} callers {service}") for service in services},
        replicas=replicas,
    )


def _callers(row: Mapping[str, Any], service: str, where: str) -> tuple[str, ...]:
    return tuple(row[service]) if isinstance(row[service], dict) else _names(row, service, where)


def _methods(row: Any, where: str) -> dict[str, tuple[str, ...]]:
    if not isinstance(row, dict):
        return {}
    methods = {caller: _names(row, caller, where) for caller in row}
    for caller, names in methods.items():
        if not names:
            raise TopologyError(f"{where} lets {caller} call nothing: leave it out")
    return methods


def _check_packages(packages: Mapping[str, Package]) -> None:
    host: dict[str, str] = {}
    if EDGE in packages:
        raise TopologyError(f"a package is called {EDGE}, which is the name of the Envoy before all of them")
    for package in packages.values():
        for service in package.services:
            if service in host:
                raise TopologyError(f"{service} is hosted by {host[service]} and by {package.name}")
            host[service] = package.name
        for service, callers in package.callers.items():
            for caller in callers:
                if caller not in packages and caller != EDGE:
                    raise TopologyError(f"{service} names the caller {caller!r}, and there is no such package")


def _limits(profile: str, row: Any) -> Limits:
    where = f"[limits.{profile}]"
    if not isinstance(row, dict):
        raise TopologyError(f"{where} is not a table")
    _no_others(row, {*_BUCKETS, "shared"}, where)
    shared = _names(row, "shared", where)
    for name in shared:
        if name not in SHAREABLE:
            raise TopologyError(f"{where} shared holds {name!r}; only {', '.join(SHAREABLE)} can be shared")
    buckets = {name: _bucket(row, name, where, shared=name in shared) for name in _BUCKETS}
    return Limits(**buckets, shared=shared)


def _bucket(row: Mapping[str, Any], name: str, where: str, *, shared: bool) -> Bucket:
    raw, where = _get(row, name, dict, where), f"{where} {name}"
    _no_others(raw, {"burst", "per_second"}, where)
    burst, slow = _get(raw, "burst", int, where), isinstance(raw.get("per_second"), float)
    per_second: float = _get(raw, "per_second", float if slow else int, where)
    if slow and not (shared and 0 < per_second < 1):
        raise TopologyError(f"{where} per_second is no whole number: a shared bucket may give less than 1, no other")
    if burst < 1 or per_second <= 0:
        raise TopologyError(f"{where} would let nobody through")
    return Bucket(burst, per_second)


def _get(row: Mapping[str, Any], key: str, kind: type, where: str) -> Any:
    if key not in row:
        raise TopologyError(f"{where} has no {key!r}")
    value = row[key]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TopologyError(f"{where} {key} is not a {kind.__name__}")
    return value


def _names(row: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    values = _get(row, key, list, where)
    for value in values:
        if not isinstance(value, str):
            raise TopologyError(f"{where} {key} holds {value!r}, which is not a name")
    if len(set(values)) != len(values):
        raise TopologyError(f"{where} {key} says a name twice")
    return tuple(values)


def _no_others(row: Mapping[str, Any], known: Collection[str], where: str) -> None:
    for key in row:
        if key not in known:
            raise TopologyError(f"{where} has an unknown key {key!r}")
