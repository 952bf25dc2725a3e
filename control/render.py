"""The topology as Envoy configurations.

Owns the assembly of the templates in `envoy/` into whole bootstrap files: the edge, and the mesh as one Envoy for a
node or as one beside each package. It is pure: same topology, home and options, same texts; it writes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from control.edge_limits import COUNTED, SHARED_SECONDS, counted, limit, limit_bytes, limit_counted, limit_together
from control.edge_refusals import REFLECTION_PREFIX, failure, local_replies, safe_headers
from control.envoy_names import (
    CA,
    DEVELOPER,
    EDGE,
    MESH,
    PUBLIC,
    WEB,
    access_log,
    admin_socket,
    app_cluster,
    endpoints_file,
    secret_file,
)
from control.home import Home
from control.templates import dump, fill, part, template
from mesh.contract import AccessKind, Contract
from mesh.topology import EVERY_OUTWARD_METHOD, MAX_BODY_BYTES, Package, Topology

LOCALHOST = "127.0.0.1"

# A long connection keeps the certificate that it began with, so it ends after a third of that certificate's life.
CONNECTIONS_PER_CERTIFICATE = 3

HEALTH_PREFIX = "/grpc.health.v1.Health/"
# Which package a developer asks for its health; reflection and health say nothing about it in their path.
TARGET_HEADER = "titan-target"

EVENTS_PATTERN = "/v1/.+:watch"

EDGE_PACKAGE = "edge_http"
LARGE_BODIES = "app_edge_http_large_bodies"


@dataclass(frozen=True)
class Surface:
    """What the renderer wants to know about methods; full paths such as `/titan.order.v1.OrderService/WatchOrder`.

    Attributes:
        streaming: The server-streaming methods: they run longer than thirty seconds.
        outward: The public, customer and role methods: the edge serves these over gRPC, and no others. None serves
            every method of the services that edge_http may call.
    """

    streaming: Collection[str] = ()
    outward: Collection[str] | None = None

    @classmethod
    def of(cls, contract: Contract) -> Surface:
        """Take it from the descriptors."""
        methods = contract.methods.values()
        return cls(
            streaming=frozenset(method.path for method in methods if method.server_streaming),
            outward=frozenset(
                method.path for method in methods if method.access and method.access.kind is not AccessKind.SERVICE
            ),
        )


@dataclass(frozen=True)
class Options:
    """What may differ between two renderings of one topology.

    Attributes:
        profile: Which limits of the topology the edge applies.
        split: `node` is one Envoy for all packages, as on a developer's machine; `sidecar` is one beside each package.
        certificate_seconds: How long the packages' certificates live.
        hosts: Where other machines find a package's inbound listener; those not named are on this one.
        collector: Host and port of an OTLP collector; without it Envoy makes no spans.
        trace_percent: How many of the calls that bring no trace get one.
        public_certificate: Whether an operator has brought one for the edge.
        shared_seconds: How long the edge waits for the buckets that it shares with other edges.
    """

    profile: str = "default"
    split: Literal["node", "sidecar"] = "node"
    certificate_seconds: int = 3600
    hosts: Mapping[str, str] = field(default_factory=dict)
    collector: tuple[str, int] | None = None
    trace_percent: float = 5.0
    public_certificate: bool = False
    shared_seconds: float = SHARED_SECONDS


def render(
    topology: Topology, home: Home, surface: Surface | None = None, options: Options | None = None
) -> dict[str, str]:
    """Return the YAML text of each Envoy by its name: `edge`, and `mesh` or one per package.

    Raises:
        ValueError: The topology has no limits for the profile, or lets the edge share buckets and ask nobody, or a
            template wants a value that nobody gave.
    """
    renderer = _Renderer(topology, home, surface or Surface(), options or Options())
    configs = {EDGE: renderer.edge()}
    if renderer.options.split == "node":
        configs[MESH] = renderer.mesh(MESH, list(topology.packages.values()), developer=True)
    else:
        configs |= {name: renderer.mesh(name, [package]) for name, package in topology.packages.items()}
    return {name: dump(config) for name, config in configs.items()}


class _Renderer:
    """One rendering. Methods return plain data in Envoy's JSON shape."""

    def __init__(self, topology: Topology, home: Home, surface: Surface, options: Options) -> None:
        if options.profile not in topology.limits:
            raise ValueError(f"the topology has no [limits.{options.profile}]; it has {', '.join(topology.limits)}")
        if topology.limits[options.profile].shared and not topology.callable_by(EDGE):
            raise ValueError(f"[limits.{options.profile}] shares buckets, and no package lets the edge ask for them")
        self.topology = topology
        self.home = home
        self.surface = surface
        self.options = options
        self.stream_life = f"{options.certificate_seconds}s"
        self.connection_life = f"{options.certificate_seconds / CONNECTIONS_PER_CERTIFICATE:.3f}s"
        self.outward_services = topology.callable_by(EDGE_PACKAGE) if EDGE_PACKAGE in topology.packages else ()

    # The edge

    def edge(self) -> Any:
        topology, limits = self.topology, self.topology.limits[self.options.profile]
        app, out, asks = app_cluster(EDGE_PACKAGE), f"out_{EDGE_PACKAGE}", f"out_{EDGE}"
        shown = [WEB, PUBLIC] if self.options.public_certificate else [WEB]
        return fill(
            template("edge.yaml"),
            admin_socket=admin_socket(self.home, EDGE),
            bind=self._bind(EDGE),
            port=self.home.ports.edge,
            certificates=[part("certificate", name=name, path=secret_file(self.home, name)) for name in shown],
            local_replies=local_replies(),
            local_reply=failure(),
            safe_response_mutations=[{"append": header} for header in safe_headers()],
            tracing=self._tracing(EDGE),
            access_log=access_log(self.home, EDGE),
            allowed_origins=[{"exact": origin} for origin in topology.allowed_origins],
            routes=self._edge_routes(app, out),
            max_body_bytes=MAX_BODY_BYTES,
            limit_address=limit("address", "masked_remote_address", "by_address", limits.address),
            limit_bytes=limit_bytes(limits.body_bytes),
            limit_routes=limit_counted(limits),
            limit_user=limit("user", "user", "by_user", limits.user),
            limit_together=limit_together(self.options.profile, asks, seconds=self.options.shared_seconds),
            token_issuer=topology.token_issuer,
            token_audience=topology.token_audience,
            token_max_lifetime=f"{topology.token_max_lifetime_seconds}s",
            app=app,
            clusters=[
                self._http_app(app, "breakers"),
                self._http_app(LARGE_BODIES, "few_breakers"),
                self._socket(out, EDGE_PACKAGE),
                self._socket(asks, EDGE),
                *self._collector(),
            ],
        )

    def _http_app(self, name: str, breakers: str) -> Any:
        return part(
            "http_app_cluster",
            name=name,
            service=app_cluster(EDGE_PACKAGE),
            breakers=part(breakers),
            outliers=part("outliers"),
            endpoints=endpoints_file(self.home, EDGE_PACKAGE),
        )

    def _socket(self, name: str, caller: str) -> Any:
        return part("socket_cluster", name=name, breakers=part("breakers"), socket=self.home.outbound_socket(caller))

    def _edge_routes(self, app: str, out: str) -> list[Any]:
        unbuffered, speaks_grpc = part("unbuffered"), part("speaks_grpc")
        events = part("events_route", match={"safe_regex": {"regex": EVENTS_PATTERN}}, cluster=app)
        too_large = part(
            "too_large_route",
            more_than=MAX_BODY_BYTES + 1,
            cluster=LARGE_BODIES,
            unbuffered=unbuffered,
            uncounted=part("limit_off", name="bytes"),
        )
        routes = [too_large, events]
        limits = self.topology.limits[self.options.profile]
        for each in COUNTED:
            match = {**each.http, "headers": [{"name": ":method", "string_match": {"exact": "POST"}}]}
            routes.append(counted(part("http_route", match=match, cluster=app), each, limits, speaks="http"))
        for route in self._outward_routes(lambda service: out):
            path = route["match"].get("path") or route["match"]["prefix"]
            found = next((each for each in COUNTED if path.startswith(each.grpc)), None)
            if found:
                counted(route, found, limits, speaks="grpc")
            # What is no gRPC goes to the app, which says so in JSON.
            route["match"]["headers"] = [speaks_grpc, part("is_post")]
            routes.append(route)
        no_method = part("no_method_route", speaks_grpc=speaks_grpc, unbuffered=unbuffered)
        return [*routes, no_method, part("http_route", match={"prefix": "/"}, cluster=app)]

    def _outward_routes(self, cluster_of: Any) -> list[Any]:
        """Return routes to what the world may call: by method when the contract is known, else by service."""
        routes: list[Any] = []
        for service in self.outward_services:
            cluster, prefix = cluster_of(service), f"/{service}/"
            streaming = {path for path in self.surface.streaming if path.startswith(prefix)}
            if self.surface.outward is None:
                routes += [self._stream(path, cluster) for path in sorted(streaming)]
                routes.append(part("unary_route", match={"prefix": prefix}, cluster=cluster))
                continue
            for path in sorted(path for path in self.surface.outward if path.startswith(prefix)):
                unary = part("unary_route", match={"path": path}, cluster=cluster)
                routes.append(self._stream(path, cluster) if path in streaming else unary)
        return routes

    # The mesh

    def mesh(self, name: str, packages: Collection[Package], *, developer: bool = False) -> Any:
        listeners: list[Any] = []
        clusters: list[Any] = []
        for package in packages:
            # What the edge asks for itself goes through the Envoy of the package that stands behind it.
            for caller in (package.name, *([EDGE] if package.name == EDGE_PACKAGE else [])):
                listeners.append(self._outbound(name, caller))
                hosts = {self.topology.host_of(service).name for service in self.topology.callable_by(caller)}
                clusters += [self._peer(caller, peer) for peer in self.topology.packages.values() if peer.name in hosts]
            if package.services:
                listeners.append(self._inbound(name, package))
                clusters.append(self._app(package))
        if developer:
            hosting = [package for package in self.topology.packages.values() if package.services]
            listeners.append(self._developer(name, hosting))
            clusters += [self._peer(DEVELOPER, package) for package in hosting]
        return fill(
            template("mesh.yaml"),
            admin_socket=admin_socket(self.home, name),
            name=name,
            listeners=listeners,
            clusters=[*clusters, *self._collector()],
        )

    def _outbound(self, envoy: str, caller: str) -> Any:
        routes: list[Any] = []
        for service in self.topology.services:
            prefix = f"/{service}/"
            if not self.topology.may_call(caller, service):
                routes.append(part("refused_route", match={"prefix": prefix}, package=caller))
                continue
            cluster = _peer_name(caller, self.topology.host_of(service).name)
            streaming = sorted(path for path in self.surface.streaming if path.startswith(prefix))
            routes += [self._stream(path, cluster) for path in streaming]
            routes.append(part("unary_route", match={"prefix": prefix}, cluster=cluster))
        return fill(
            template("outbound.yaml"),
            package=caller,
            socket=self.home.outbound_socket(caller),
            tracing=self._tracing(f"out_{caller}"),
            access_log=self._failures(envoy, f"out_{caller}"),
            routes=routes,
        )

    def _inbound(self, envoy: str, package: Package) -> Any:
        developer = self.topology.developer_id
        granted: dict[str, list[Any]] = {}
        for service in package.services:
            for caller in package.callers[service]:
                paths = self._granted(caller, service)
                granted.setdefault(self.topology.spiffe_id(caller), []).extend(paths)
            if service in self.outward_services:
                granted.setdefault(developer, []).extend(self._outward(service))
        prefixes = [{"prefix": prefix} for prefix in (HEALTH_PREFIX, REFLECTION_PREFIX)]
        granted.setdefault(developer, []).extend(prefixes)
        policies = {
            identity: part("policy", identity=identity, paths=[part("path", path=path) for path in paths])
            for identity, paths in granted.items()
        }
        return fill(
            template("inbound.yaml"),
            package=package.name,
            bind=self._bind(package.name),
            port=self.home.ports.inbound(package.index),
            secret=secret_file(self.home, package.name),
            ca_secret=secret_file(self.home, CA),
            trusted_prefix=f"spiffe://{self.topology.trust_domain}/",
            connection_life=self.connection_life,
            tracing=self._tracing(f"in_{package.name}"),
            access_log=self._failures(envoy, f"in_{package.name}"),
            handshakes_log=self._handshakes(envoy, f"in_{package.name}"),
            app=app_cluster(package.name),
            no_compressed=part("no_compressed_route"),
            policies=policies,
        )

    def _granted(self, caller: str, service: str) -> list[Any]:
        """Return what a caller may call of a service, as matches of paths."""
        methods = self.topology.methods_of(caller, service)
        if methods is None:
            return [{"prefix": f"/{service}/"}]
        named = [{"exact": f"/{service}/{method}"} for method in methods if method != EVERY_OUTWARD_METHOD]
        return [*(self._outward(service) if EVERY_OUTWARD_METHOD in methods else ()), *named]

    def _outward(self, service: str) -> list[Any]:
        prefix = f"/{service}/"
        if self.surface.outward is None:
            return [{"prefix": prefix}]
        return [{"exact": path} for path in sorted(self.surface.outward) if path.startswith(prefix)]

    def _developer(self, envoy: str, hosting: Collection[Package]) -> Any:
        routes = self._outward_routes(lambda service: _peer_name(DEVELOPER, self.topology.host_of(service).name))
        # Any package's reflection knows the whole contract; a developer who names none gets the first one's.
        for prefix in (REFLECTION_PREFIX, HEALTH_PREFIX):
            for package in hosting:
                header = {"name": TARGET_HEADER, "string_match": {"exact": package.name}}
                match = {"prefix": prefix, "headers": [header]}
                routes.append(self._stream_by(match, _peer_name(DEVELOPER, package.name)))
            first = next(iter(hosting)).name
            routes.append(self._stream_by({"prefix": prefix}, _peer_name(DEVELOPER, first)))
        return fill(
            template("developer.yaml"),
            bind=LOCALHOST,
            port=self.home.ports.grpc,
            web_secret=secret_file(self.home, WEB),
            ca_secret=secret_file(self.home, CA),
            developer_id=self.topology.developer_id,
            tracing=self._tracing(DEVELOPER),
            access_log=self._failures(envoy, DEVELOPER),
            handshakes_log=self._handshakes(envoy, DEVELOPER),
            routes=routes,
        )

    def _peer(self, caller: str, peer: Package) -> Any:
        host = self.options.hosts.get(peer.name, LOCALHOST)
        return part(
            "peer_cluster",
            name=_peer_name(caller, peer.name),
            discovery="STRICT_DNS" if peer.name in self.options.hosts else "STATIC",
            breakers=part("breakers"),
            outliers=part("outliers"),
            connection_life=self.connection_life,
            sni=f"{peer.name}.{self.topology.trust_domain}",
            caller=caller,
            caller_secret=secret_file(self.home, caller),
            peer_id=self.topology.spiffe_id(peer.name),
            ca_secret=secret_file(self.home, CA),
            host=host,
            port=self.home.ports.inbound(peer.index),
        )

    def _app(self, package: Package) -> Any:
        return part(
            "app_cluster",
            name=app_cluster(package.name),
            breakers=part("breakers"),
            outliers=part("outliers"),
            endpoints=endpoints_file(self.home, package.name),
        )

    # What both need

    def _stream(self, path: str, cluster: str) -> Any:
        return self._stream_by({"path": path}, cluster)

    def _stream_by(self, match: Any, cluster: str) -> Any:
        return part("stream_route", match=match, cluster=cluster, stream_life=self.stream_life)

    def _bind(self, name: str) -> str:
        return "0.0.0.0" if name in self.options.hosts else LOCALHOST  # noqa: S104 - behind a host name there is a network

    def _failures(self, envoy: str, listener: str) -> Any:
        return part("failures_log", path=access_log(self.home, envoy), listener=listener)

    def _handshakes(self, envoy: str, listener: str) -> Any:
        return part("handshakes_log", path=access_log(self.home, envoy), listener=listener)

    def _tracing(self, name: str) -> Any:
        if self.options.collector is None:
            return None
        return part("tracing", percent=self.options.trace_percent, name=name)

    def _collector(self) -> list[Any]:
        if self.options.collector is None:
            return []
        host, port = self.options.collector
        return [part("collector_cluster", host=host, port=port)]


def _peer_name(caller: str, peer: str) -> str:
    return f"{peer}_for_{caller}"
