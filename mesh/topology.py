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

KNOWN_SERVERS = frozenset({"postgres", "redis", "kafka", "psp", "smtp"})

MAX_BODY_BYTES = 1024 * 1024
"""The largest body of a request that the edge takes: its Envoy holds so much, and edge_http reads so much."""


class TopologyError(ValueError):
    """The topology contradicts itself or the contract; the text says where, and how to mend it."""


@dataclass(frozen=True)
class Bucket:
    """A token bucket: `burst` calls or bytes at once, refilled by `per_second` each second."""

    burst: int
    per_second: int


@dataclass(frozen=True)
class Limits:
    """The edge's buckets in one profile."""

    address: Bucket
    user: Bucket
    sessions: Bucket
    body_bytes: Bucket


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
    for package in packages.values():
        for service in package.services:
            if service in host:
                raise TopologyError(f"{service} is hosted by {host[service]} and by {package.name}")
            host[service] = package.name
        for service, callers in package.callers.items():
            for caller in callers:
                if caller not in packages:
                    raise TopologyError(f"{service} names the caller {caller!r}, and there is no such package")


def _limits(profile: str, row: Any) -> Limits:
    where = f"[limits.{profile}]"
    if not isinstance(row, dict):
        raise TopologyError(f"{where} is not a table")
    _no_others(row, {"address", "user", "sessions", "body_bytes"}, where)

    def bucket(key: str) -> Bucket:
        raw = _get(row, key, dict, where)
        _no_others(raw, {"burst", "per_second"}, f"{where} {key}")
        made = Bucket(
            burst=_get(raw, "burst", int, f"{where} {key}"),
            per_second=_get(raw, "per_second", int, f"{where} {key}"),
        )
        if made.burst < 1 or made.per_second < 1:
            raise TopologyError(f"{where} {key} would let nobody through")
        return made

    return Limits(
        address=bucket("address"), user=bucket("user"), sessions=bucket("sessions"), body_bytes=bucket("body_bytes")
    )


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
