"""What the topology says is what Envoy is told, on the edge and at every door of the mesh."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from control import edge_limits, render, templates
from control.envoy_validate import problems
from control.home import Home, Ports
from control.render import Options, Surface
from edge_http import asgi
from mesh import contract, topology
from mesh.topology import EDGE, Bucket
from tests.control.small_mesh import SAY, SURFACE, TELL, WATCH, read_topology

SHIPPED = Path(__file__).parents[2] / "deploy" / "topology.toml"
HOME = Home(Path("/srv/titan"), Ports(19000))
RBAC = "envoy.filters.http.rbac"


@pytest.fixture(scope="module")
def shipped() -> topology.Topology:
    """The topology of the repository."""
    return topology.load(SHIPPED)


@pytest.fixture(scope="module")
def configs(shipped: topology.Topology) -> dict[str, Any]:
    """It, rendered for a node."""
    return {name: templates.load(text) for name, text in render.render(shipped, HOME).items()}


def listeners(config: Any) -> dict[str, Any]:
    """Return a configuration's listeners by name."""
    return {listener["name"]: listener for listener in config["static_resources"]["listeners"]}


def manager(listener: Any) -> Any:
    """Return a listener's HTTP connection manager."""
    return listener["filter_chains"][0]["filters"][0]["typed_config"]


def routes(listener: Any) -> list[Any]:
    """Return a listener's routes."""
    return manager(listener)["route_config"]["virtual_hosts"][0]["routes"]


def policies(listener: Any) -> dict[str, set[str]]:
    """Return who may call what at an inbound listener: the identity -> paths, and prefixes with a star behind."""
    (rbac,) = [found for found in manager(listener)["http_filters"] if found["name"] == RBAC]
    rules = rbac["typed_config"]["rules"]
    assert "ALLOW" == rules["action"]
    found: dict[str, set[str]] = {}
    for policy in rules["policies"].values():
        (principal,) = policy["principals"]
        paths = [permission["url_path"]["path"] for permission in policy["permissions"]]
        assert all(1 == len(path) for path in paths)
        found[principal["authenticated"]["principal_name"]["exact"]] = {
            path.get("exact") or path["prefix"] + "*" for path in paths
        }
    return found


def test_rendering_is_a_pure_function(shipped: topology.Topology) -> None:
    """The same topology gives the same texts, and no place is left open in them."""
    first, second = render.render(shipped, HOME), render.render(shipped, HOME)

    assert first == second
    assert {"edge", "mesh"} == set(first)
    assert not any(re.search(r"\$\{", text) for text in first.values())


@pytest.mark.parametrize("split", ["node", "sidecar"])
def test_every_port_speaks_tls_of_today_and_nothing_else(shipped: topology.Topology, split: Any) -> None:
    """The edge's and those between packages. What has no TLS is a socket in a folder of this account."""
    texts = render.render(shipped, HOME, None, Options(split=split))
    ports, sockets = {}, {}
    for text in texts.values():
        for name, listener in listeners(templates.load(text)).items():
            (ports if "socket_address" in listener["address"] else sockets)[name] = listener

    assert {"edge", "in_svc_auth"} <= set(ports) and all(name.startswith("out_") for name in sockets)
    for name, listener in ports.items():
        for chain in listener["filter_chains"]:
            said = chain["transport_socket"]["typed_config"]
            oldest = said["common_tls_context"]["tls_params"]["tls_minimum_protocol_version"]
            assert said["@type"].endswith("DownstreamTlsContext")
            assert oldest == "TLSv1_3" if name.startswith("in_") else oldest in ("TLSv1_2", "TLSv1_3"), name
    assert all(listener["address"]["pipe"]["mode"] == 0o600 for listener in sockets.values())


def test_the_edge_sends_nobody_elsewhere(configs: dict[str, Any]) -> None:
    """Whoever speaks plain text is told nothing, and no call is repeated over TLS unnoticed after a redirect."""
    assert ["edge"] == list(listeners(configs["edge"]))
    assert [] == [route for route in routes(listeners(configs["edge"])["edge"]) if "redirect" in route]


def test_the_edge_holds_bodies_of_the_size_that_the_app_reads(configs: dict[str, Any]) -> None:
    """One number says so in both: else the edge would refuse what the app takes, or hold what it refuses."""
    (edge,) = listeners(configs["edge"]).values()
    (buffer,) = [each for each in manager(edge)["http_filters"] if each["name"] == "envoy.filters.http.buffer"]
    too_large = routes(edge)[0]["match"]["headers"][0]

    assert asgi.MAX_BODY_BYTES is topology.MAX_BODY_BYTES
    assert topology.MAX_BODY_BYTES == buffer["typed_config"]["max_request_bytes"]
    assert ("content-length", topology.MAX_BODY_BYTES + 1) == (too_large["name"], too_large["range_match"]["start"])


def test_every_door_admits_exactly_the_callers_of_the_topology(shipped: topology.Topology) -> None:
    """Method by method: what it names, for the edge what the world may call, for developers that and health."""
    methods = contract.load()
    outward = Surface.of(methods).outward or ()
    doors = listeners(templates.load(render.render(shipped, HOME, Surface.of(methods))["mesh"]))
    for package in shipped.packages.values():
        if not package.services:
            assert f"in_{package.name}" not in doors
            continue
        expected: dict[str, set[str]] = {shipped.developer_id: {"/grpc.health.v1.Health/*", "/grpc.reflection.*"}}
        for service in package.services:
            for caller in package.callers[service]:
                named = shipped.methods_of(caller, service)
                assert named is not None, service
                paths = {f"/{service}/{method}" for method in named if method != "*"}
                if "*" in named:
                    paths |= {path for path in outward if path.startswith(f"/{service}/")}
                    expected[shipped.developer_id] |= {path for path in outward if path.startswith(f"/{service}/")}
                expected.setdefault(shipped.spiffe_id(caller), set()).update(paths)

        assert expected == policies(doors[f"in_{package.name}"])


def test_a_method_that_the_topology_names_is_one_of_the_contract(shipped: topology.Topology) -> None:
    """A slip in a name would refuse a call for ever."""
    known = contract.load().methods
    for service in shipped.services:
        for caller in shipped.callers_of(service):
            for method in shipped.methods_of(caller, service) or ():
                assert method == "*" or f"/{service}/{method}" in known, method


def test_ports_follow_the_order_of_the_topology(shipped: topology.Topology, configs: dict[str, Any]) -> None:
    """base + 20 + i, and no two Envoys share a port silently."""
    doors = listeners(configs["mesh"])
    for package in shipped.packages.values():
        if package.services:
            door = doors[f"in_{package.name}"]
            assert 19020 + package.index == door["address"]["socket_address"]["port_value"]
            assert door["enable_reuse_port"] is False
    assert 19004 == doors["developer"]["address"]["socket_address"]["port_value"]
    assert 19003 == listeners(configs["edge"])["edge"]["address"]["socket_address"]["port_value"]


def test_outbound_listeners_route_what_is_granted_and_refuse_the_rest(
    shipped: topology.Topology, configs: dict[str, Any]
) -> None:
    """A private socket per package; what the topology does not grant is answered on the spot."""
    doors = listeners(configs["mesh"])
    for package in (*shipped.packages, EDGE):
        listener = doors[f"out_{package}"]
        assert {"path": f"/srv/titan/run/out/{package}.sock", "mode": 0o600} == listener["address"]["pipe"]
        granted = {route["match"]["prefix"] for route in routes(listener) if "route" in route}
        assert {f"/{service}/" for service in shipped.callable_by(package)} == granted
        refused = [route for route in routes(listener) if "direct_response" in route]
        assert len(shipped.services) == len(granted) + len(refused)


def test_every_upstream_shows_its_own_identity_and_demands_the_right_one(
    shipped: topology.Topology, configs: dict[str, Any]
) -> None:
    """TLS 1.3 at both ends of the range, no resumption, the exact SPIFFE id of the other side."""
    peers = [c for c in configs["mesh"]["static_resources"]["clusters"] if "transport_socket" in c]
    for cluster in peers:
        callee, _, caller = cluster["name"].partition("_for_")
        tls = cluster["transport_socket"]["typed_config"]
        context = tls["common_tls_context"]
        wanted = context["combined_validation_context"]["default_validation_context"]["match_typed_subject_alt_names"]
        assert [{"san_type": "URI", "matcher": {"exact": shipped.spiffe_id(callee)}}] == wanted
        assert caller == context["tls_certificate_sds_secret_configs"][0]["name"]
        assert {"TLSv1_3"} == set(context["tls_params"].values())
        assert 0 == tls["max_session_keys"]
    assert {"svc_payment_for_svc_order", "svc_auth_for_svc_payment"} <= {cluster["name"] for cluster in peers}
    assert "svc_payment_for_svc_cart" not in {cluster["name"] for cluster in peers}


def test_envoy_retries_only_what_reached_nobody(shipped: topology.Topology) -> None:
    """Every retry policy anywhere names the same two causes; attempts of clients and of Envoy never multiply."""
    for options in (Options(), Options(split="sidecar")):
        for text in render.render(shipped, HOME, options=options).values():
            assert {"connect-failure,refused-stream"} == set(re.findall(r"retry_on: (\S+)", text))


LONGEST_DOOR_WAIT_SECONDS = 4.0
USUAL_DOOR_WAIT_SECONDS = 1.75
"""A replica starts in some two seconds, and most callers have five."""


def test_a_call_waits_at_a_door_for_a_replica_that_starts_and_not_for_its_whole_time(configs: dict[str, Any]) -> None:
    """Pauses double from the base to the most, and each is drawn between nothing and its own most."""
    for name, door in listeners(configs["mesh"]).items():
        if not name.startswith("in_"):
            continue
        *_, route = routes(door)
        policy = route["route"]["retry_policy"]
        base, most = (float(policy["retry_back_off"][key][:-1]) for key in ("base_interval", "max_interval"))
        longest = sum(min(base * 2**number, most) for number in range(policy["num_retries"]))

        assert longest <= LONGEST_DOOR_WAIT_SECONDS, name
        assert longest / 2 >= USUAL_DOOR_WAIT_SECONDS, name
        assert most <= 0.5, name


def test_connections_end_after_a_third_of_a_certificate(shipped: topology.Topology) -> None:
    """Both ends limit them, so that none outlives the certificate that opened it."""
    text = render.render(shipped, HOME, options=Options(certificate_seconds=600))["mesh"]

    assert {"200.000s"} == set(re.findall(r"max_connection_duration: (\S+)", text))


def test_streams_have_routes_of_their_own(tmp_path: Path) -> None:
    """Thirty seconds are enough for a call, and far too short for a stream."""
    mesh = read_topology(tmp_path)
    out = routes(listeners(templates.load(render.render(mesh, HOME, SURFACE)["mesh"]))["out_svc_b"])
    seconds = {
        next(iter(route["match"].values())): route["route"]["max_stream_duration"]["max_stream_duration"]
        for route in out
        if "route" in route
    }

    assert "3600s" == seconds[WATCH]
    assert "30s" == seconds["/titan.a.v1.EchoService/"]


def test_the_world_reaches_outward_methods_and_nothing_else(tmp_path: Path) -> None:
    """With the contract known, each method has its own route at the edge and at the developers' door."""
    rendered = render.render(read_topology(tmp_path), HOME, Surface(streaming={WATCH}, outward={SAY, WATCH, TELL}))
    edge = routes(listeners(templates.load(rendered["edge"]))["edge"])
    developer = routes(listeners(templates.load(rendered["mesh"]))["developer"])

    for found in (edge, developer):
        paths = [path for route in found if (path := route["match"].get("path", "")).startswith("/titan.")]
        # TELL is outward by its access rule, yet its service has no such caller in the topology.
        assert [SAY, WATCH] == paths
    assert "app_edge_http" == edge[-1]["route"]["cluster"]


def test_the_load_profile_raises_limits_and_changes_nothing_else(shipped: topology.Topology) -> None:
    """Whatever passes under load passes the same filters as in the default profile; svc_limits is asked nothing."""
    default, load = (
        templates.load(render.render(shipped, HOME, options=Options(profile=profile))["edge"])
        for profile in ("default", "load")
    )

    def drop_buckets(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: drop_buckets(value) for key, value in node.items() if key not in ("token_bucket", "domain")}
        if isinstance(node, list) and any(isinstance(item, dict) and "actions" in item for item in node):
            return [item for item in node if "stage" not in item]
        return [drop_buckets(item) for item in node] if isinstance(node, list) else node

    assert default != load
    assert drop_buckets(default) == drop_buckets(load)


def test_whatever_costs_a_password_hash_is_limited_more_strictly(shipped: topology.Topology) -> None:
    """Guessing passwords over gRPC is no faster, and registering costs as much as signing in."""
    edge = templates.load(render.render(shipped, HOME, Surface.of(contract.load()))["edge"])
    counted: dict[str, set[str]] = {}
    for route in routes(listeners(edge)["edge"]):
        for limit in route.get("route", {}).get("rate_limits", ()):
            if "stage" in limit:
                continue
            what, address = limit["actions"]
            assert {"masked_remote_address"} == set(address)
            match = route["match"]
            counted.setdefault(what["generic_key"]["descriptor_value"], set()).add(
                match.get("path", match.get("prefix"))
            )
    auth, user = "/titan.auth.v1.AuthService", "/titan.auth.v1.UserService"
    (limit,) = [found for found in manager(listeners(edge)["edge"])["http_filters"] if found["name"] == "limit_routes"]
    buckets = {entry["entries"][0]["value"]: entry["token_bucket"] for entry in limit["typed_config"]["descriptors"]}

    assert {"/v1/sessions", f"{auth}/CreateSession"} == counted["sign_in"]
    assert {"/v1/sessions:refresh", f"{auth}/RefreshSession"} == counted["refresh"]
    assert {"/v1/users", f"{user}/CreateUser"} == counted["register"]
    assert {"/v1/sessions", f"{auth}/CreateGuestSession", f"{auth}/RevokeSession"} <= counted["sessions"]
    assert {"/v1/emails", "/v1/passwords"} <= counted["links"]
    assert "/v1/users/me/secondFactor" in counted["second_factor"]
    assert "/v1/federation" in counted["federation"]
    names = {"sign_in", "refresh", "register", "password", "erase", "second_factor", "links", "federation", "passkeys"}
    assert {"/v1/wallet:topUp", "/titan.payment.v1.WalletService/TopUpWallet"} == counted["top_up"]
    assert {*names, "sessions", "top_up"} == set(counted) == set(buckets)
    assert shipped.limits["default"].payments.burst == buckets.pop("top_up")["max_tokens"]
    assert {shipped.limits["default"].sessions.burst} == {bucket["max_tokens"] for bucket in buckets.values()}


def test_what_is_counted_for_all_edges_is_rare_and_never_an_order(shipped: topology.Topology) -> None:
    """A question costs a call through the mesh: sensitive routes ask, for address and user, and no other route does."""
    edge = templates.load(render.render(shipped, HOME, Surface.of(contract.load()))["edge"])
    asking = set()
    for route in routes(listeners(edge)["edge"]):
        limits = route.get("route", {}).get("rate_limits", ())
        together = [limit["actions"] for limit in limits if limit.get("stage") == 1]
        if not limits:
            continue
        asking.add(route["match"].get("path", route["match"].get("prefix")))
        named = {first["generic_key"]["descriptor_key"] for first, _, _ in together}
        speaks = {last["generic_key"]["descriptor_value"] for _, _, last in together}
        assert ["masked_remote_address", "metadata"] == [next(iter(whose)) for _, whose, _ in together]
        assert named <= set(shipped.limits["default"].shared)
        assert {"grpc" if route["match"].get("path", "").startswith("/titan.") else "http"} == speaks
    orders = {route.rule.template for route in contract.load().routes() if "order" in route.method.service}
    orders |= {path for path in contract.load().methods if path.startswith("/titan.order.")}

    assert {each.http.get("path", each.http.get("prefix")) for each in edge_limits.COUNTED} <= asking
    assert not [order for order in orders if any(order.startswith(path) for path in asking)]


def test_who_cannot_be_asked_stops_nobody(shipped: topology.Topology, configs: dict[str, Any]) -> None:
    """Soon, and after the edge's own buckets: the last filter before the call goes on."""
    *_, last, router = manager(listeners(configs["edge"])["edge"])["http_filters"]
    asks = last["typed_config"]
    (cluster,) = [each for each in configs["edge"]["static_resources"]["clusters"] if each["name"] == "out_edge"]
    pipe = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]["pipe"]

    assert ("limit_together", "envoy.filters.http.router") == (last["name"], router["name"])
    assert asks["failure_mode_deny"] is False
    assert 0 < float(asks["timeout"].removesuffix("s")) <= 0.05
    assert "out_edge" == asks["rate_limit_service"]["grpc_service"]["envoy_grpc"]["cluster_name"]
    assert "/srv/titan/run/out/edge.sock" == pipe["path"]


def test_buckets_that_nobody_keeps_are_not_shared(shipped: topology.Topology) -> None:
    """Every call would pass, and no test of a running edge would say so."""
    callers = {**shipped.packages["svc_limits"].callers, "envoy.service.ratelimit.v3.RateLimitService": ()}
    alone = replace(shipped.packages["svc_limits"], callers=callers)
    mesh = replace(shipped, packages={**shipped.packages, "svc_limits": alone})

    with pytest.raises(ValueError, match=r"limits\.default.*shares buckets"):
        render.render(mesh, HOME)
    render.render(mesh, HOME, options=Options(profile="load"))


def test_bodies_that_never_end_cannot_fill_the_edge(shipped: topology.Topology, configs: dict[str, Any]) -> None:
    """What buckets let in while a body may take its time stays below the heap's threshold; of one address, a tenth."""
    heap, _ = configs["edge"]["overload_manager"]["resource_monitors"]
    heap_bytes = heap["typed_config"]["max_heap_size_bytes"]
    seconds = float(manager(listeners(configs["edge"])["edge"])["request_timeout"].removesuffix("s"))

    def held(bucket: Bucket) -> float:
        return bucket.burst + bucket.per_second * seconds

    assert held(edge_limits.ALL_BODIES) <= 0.75 * heap_bytes
    assert held(shipped.limits["default"].body_bytes) <= 0.1 * heap_bytes
    assert shipped.limits["default"].body_bytes.burst >= topology.MAX_BODY_BYTES


def test_server_sent_events_are_not_cut(configs: dict[str, Any]) -> None:
    """A watching shopper hears nothing for minutes; the route waits."""
    (events,) = [route for route in routes(listeners(configs["edge"])["edge"]) if "safe_regex" in route["match"]]

    assert re.fullmatch(events["match"]["safe_regex"]["regex"], "/v1/orders/0190:watch")
    assert not re.fullmatch(events["match"]["safe_regex"]["regex"], "/v1/orders/0190")
    assert "0s" == events["route"]["timeout"]


def test_a_profile_that_the_topology_lacks_is_named(shipped: topology.Topology) -> None:
    """The message says which there are."""
    with pytest.raises(ValueError, match=r"limits\.huge.*default, load"):
        render.render(shipped, HOME, options=Options(profile="huge"))


def test_a_sidecar_carries_its_own_package_alone(shipped: topology.Topology) -> None:
    """No other package's certificate is mounted beside it, and no developers' door is open."""
    rendered = render.render(shipped, HOME, options=Options(split="sidecar", hosts={"svc_order": "svc-order"}))

    assert {"edge", *shipped.packages} == set(rendered)
    order = templates.load(rendered["svc_order"])
    assert {"out_svc_order", "in_svc_order"} == set(listeners(order))
    assert {"svc_order.json", "ca.json"} == set(re.findall(r"sds/(\S+)", rendered["svc_order"]))
    assert "0.0.0.0" == listeners(order)["in_svc_order"]["address"]["socket_address"]["address"]
    assert "svc-order" in rendered["edge_http"]


def test_envoy_itself_accepts_every_rendering(shipped: topology.Topology, tmp_path: Path) -> None:
    """Profiles and splits, without an unknown or deprecated field."""
    assert [] == list(problems(shipped, Surface(), tmp_path))
