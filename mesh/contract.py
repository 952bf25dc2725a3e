"""Reads the descriptors once, and gives every part of Titan its view of them.

Routes, access rules, retry rules, deadlines, the topology check and the security tests all derive from the `Contract`
that `load` returns. This module owns the reading and the list of what is wrong with a contract (`problems`). It never
talks to a network and knows no domain.
"""

from __future__ import annotations

import enum
import importlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from google.api import annotations_pb2
from google.api.http_pb2 import HttpRule as WireRule
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message

from buf.validate import validate_pb2
from titan.options.v1 import options_pb2

DEFAULT_SECONDS = 5.0
CAP_SECONDS = 30.0
STREAM_SECONDS = 3600.0
"""How long a server stream may last, and lasts by default, where the method says nothing."""

ROLES = frozenset({"admin", "importer", "warehouse", "support", "finance", "seller"})
"""The roles that an access rule may name; guests and customers are told apart by the handler, not by a rule."""

TICKET_FIELD = "ticket_id"
"""The field in which a request names what a customer has asked for, where somebody acts for them."""

_VARIABLE = re.compile(r"\{([^{}=]+)(?:=([^{}]*))?\}")


class ContractProblem(Exception):
    """The contract cannot be served; the message lists why, one problem a line."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class AccessKind(enum.Enum):
    """The four kinds of caller that a method may admit."""

    PUBLIC = "public"
    CUSTOMER = "customer"
    ROLES = "roles"
    SERVICE = "service"


@dataclass(frozen=True)
class Access:
    """Who may call a method; `roles` is empty unless the kind is ROLES."""

    kind: AccessKind
    roles: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return f"roles({', '.join(sorted(self.roles))})" if self.roles else self.kind.value


class Idempotency(enum.Enum):
    """What a second identical call does, as `idempotency_level` says it; UNKNOWN promises nothing."""

    UNKNOWN = 0
    NO_SIDE_EFFECTS = 1
    IDEMPOTENT = 2


@dataclass(frozen=True)
class HttpRule:
    """One HTTP binding: `body` is empty, `*` or a field; `variables` are the field paths inside the template."""

    verb: str
    template: str
    body: str
    response_body: str
    variables: tuple[str, ...]

    @property
    def shape(self) -> tuple[str, str]:
        """The verb and the template without variable names: two rules of one shape would answer the same URL."""
        return self.verb, _VARIABLE.sub(lambda found: found.group(2) or "*", self.template)


@dataclass(frozen=True)
class Method:
    """One RPC with everything that the contract says about it."""

    path: str
    """`/titan.order.v1.OrderService/CancelOrder`, as it travels."""
    service: str
    name: str
    request_class: type[Message]
    response_class: type[Message]
    access: Access | None
    idempotency: Idempotency
    default_seconds: float
    cap_seconds: float
    client_streaming: bool
    server_streaming: bool
    http: tuple[HttpRule, ...]
    has_request_id: bool
    """The request has a string field `request_id`."""
    request_id_required: bool
    """The call is refused without a `request_id`: it is IDEMPOTENT and the field's rules ask for a value."""
    headers: Mapping[str, str]
    """HTTP header in lower case -> top-level field of the request that it fills."""
    descriptor: MethodDescriptor = field(repr=False, compare=False)

    @property
    def full_name(self) -> str:
        """Service and method with a point between them, as people and metrics write it."""
        return f"{self.service}.{self.name}"

    @property
    def is_mutation(self) -> bool:
        """Whatever the contract does not call free of side effects counts as a mutation."""
        return self.idempotency is not Idempotency.NO_SIDE_EFFECTS

    @property
    def takes_ticket(self) -> bool:
        """The request has a field for a customer's ticket."""
        return TICKET_FIELD in self.request_class.DESCRIPTOR.fields_by_name

    @property
    def may_retry(self) -> bool:
        """A client may send the same call again after UNAVAILABLE."""
        return self.idempotency is not Idempotency.UNKNOWN and not self.client_streaming and not self.server_streaming


@dataclass(frozen=True)
class Service:
    """One gRPC service; methods in the order of the proto."""

    name: str
    methods: tuple[Method, ...]
    descriptor: ServiceDescriptor = field(repr=False, compare=False)


@dataclass(frozen=True)
class Route:
    """One HTTP binding of one method; the edge serves these."""

    rule: HttpRule
    method: Method


@dataclass(frozen=True)
class MatrixRow:
    """One line of the access matrix that the security tests sweep."""

    path: str
    access: Access


@dataclass(frozen=True)
class Contract:
    """Every service that was loaded, by full name."""

    services: Mapping[str, Service]

    @cached_property
    def methods(self) -> Mapping[str, Method]:
        """Every method by its path."""
        return {method.path: method for service in self.services.values() for method in service.methods}

    def only(self, names: Iterable[str]) -> Contract:
        """Return the part of the contract that holds the services of these full names."""
        return Contract({name: self.services[name] for name in names})

    def routes(self) -> tuple[Route, ...]:
        """Return every HTTP binding, in the order of services by name, methods and bindings."""
        return tuple(Route(rule, method) for method in self.methods.values() for rule in method.http)

    def public_services(self) -> tuple[Service, ...]:
        """Return the services with at least one method that a person may call: public, customer or roles."""
        return tuple(service for service in self.services.values() if not _service_only(service))

    def service_only(self) -> tuple[Service, ...]:
        """Return the services whose every method is for other packages of the mesh alone."""
        return tuple(service for service in self.services.values() if _service_only(service))

    def streaming_methods(self) -> tuple[Method, ...]:
        """Return the methods that answer with a stream."""
        return tuple(method for method in self.methods.values() if method.server_streaming)

    def access_matrix(self) -> tuple[MatrixRow, ...]:
        """Return who may call what, one row per method; methods without a rule are absent (`problems` names them)."""
        return tuple(MatrixRow(m.path, m.access) for m in self.methods.values() if m.access is not None)

    def problems(self) -> list[str]:
        """Return everything that is wrong with the contract, one sentence each; none means it can be served."""
        found = [problem for method in self.methods.values() for problem in _problems(method)]
        owners: dict[tuple[str, str], Method] = {}
        for route in self.routes():
            other = owners.setdefault(route.rule.shape, route.method)
            if other is not route.method:
                found.append(
                    f"{route.method.full_name}: {route.rule.verb} {route.rule.template} is already {other.full_name}"
                )
        return found

    def check(self) -> None:
        """Raise `ContractProblem` unless the contract can be served."""
        problems = self.problems()
        if problems:
            raise ContractProblem(problems)


def load(root: str = "titan") -> Contract:
    """Return the contract of every generated `*_service_pb2` module below the namespace package `root`."""
    package = importlib.import_module(root)
    names = sorted(
        ".".join([root, *path.relative_to(folder).with_suffix("").parts])
        for folder in map(Path, package.__path__)
        for path in folder.rglob("*_service_pb2.py")
    )
    return of_files(importlib.import_module(name).DESCRIPTOR for name in dict.fromkeys(names))


def of_files(files: Iterable[FileDescriptor]) -> Contract:
    """Return the contract of the services in these files, by full name."""
    services = (service for file in files for service in file.services_by_name.values())
    return Contract({s.full_name: _service(s) for s in sorted(services, key=lambda s: s.full_name)})


def _service(descriptor: ServiceDescriptor) -> Service:
    return Service(descriptor.full_name, tuple(_method(m) for m in descriptor.methods), descriptor)


def _method(descriptor: MethodDescriptor) -> Method:
    options: Any = descriptor.GetOptions()
    streaming = bool(descriptor.server_streaming)
    default, cap = (STREAM_SECONDS, STREAM_SECONDS) if streaming else (DEFAULT_SECONDS, CAP_SECONDS)
    deadline = options.Extensions[options_pb2.deadline]
    cap = deadline.cap_ms / 1000 if deadline.cap_ms else max(cap, deadline.default_ms / 1000)
    default = deadline.default_ms / 1000 if deadline.default_ms else min(default, cap)
    idempotency = (
        Idempotency(options.idempotency_level) if options.HasField("idempotency_level") else Idempotency.UNKNOWN
    )
    request_id = descriptor.input_type.fields_by_name.get("request_id")
    is_string = request_id is not None and request_id.type == FieldDescriptor.TYPE_STRING
    return Method(
        path=f"/{descriptor.containing_service.full_name}/{descriptor.name}",
        service=descriptor.containing_service.full_name,
        name=descriptor.name,
        request_class=message_factory.GetMessageClass(descriptor.input_type),
        response_class=message_factory.GetMessageClass(descriptor.output_type),
        access=_access(options.Extensions[options_pb2.access]) if options.HasExtension(options_pb2.access) else None,
        idempotency=idempotency,
        default_seconds=default,
        cap_seconds=cap,
        client_streaming=bool(descriptor.client_streaming),
        server_streaming=streaming,
        http=_http(options),
        has_request_id=is_string,
        request_id_required=is_string and idempotency is Idempotency.IDEMPOTENT and _asks_for_a_value(request_id),
        headers={
            header.lower(): found.name
            for found in descriptor.input_type.fields
            if (header := _options_of(found).Extensions[options_pb2.header])
        },
        descriptor=descriptor,
    )


def _access(wire: options_pb2.Access) -> Access | None:
    """Return the rule, or None where it names no kind of caller or more than one (`problems` says which)."""
    kinds = _kinds(wire)
    return Access(kinds[0], frozenset(wire.roles)) if len(kinds) == 1 else None


def _kinds(wire: options_pb2.Access) -> list[AccessKind]:
    named = {
        AccessKind.PUBLIC: wire.public,
        AccessKind.CUSTOMER: wire.customer,
        AccessKind.ROLES: bool(wire.roles),
        AccessKind.SERVICE: wire.service,
    }
    return [kind for kind, present in named.items() if present]


def _asks_for_a_value(request_id: Any) -> bool:
    rules = _options_of(request_id).Extensions[validate_pb2.field]
    if rules.ignore != validate_pb2.IGNORE_UNSPECIFIED:
        return False
    return rules.required or rules.string.min_len > 0 or rules.string.len > 0 or rules.string.uuid


def _options_of(found: Any) -> Any:
    """Return a field's options; the stubs of protobuf do not know that a generated extension indexes them."""
    return found.GetOptions()


def _http(options: Any) -> tuple[HttpRule, ...]:
    if not options.HasExtension(annotations_pb2.http):
        return ()
    first = options.Extensions[annotations_pb2.http]
    return tuple(_rule(wire) for wire in (first, *first.additional_bindings))


def _rule(wire: WireRule) -> HttpRule:
    kind = wire.WhichOneof("pattern") or ""
    verb, template = (
        (wire.custom.kind, wire.custom.path) if kind == "custom" else (kind.upper(), getattr(wire, kind, ""))
    )
    variables = tuple(found.group(1).strip() for found in _VARIABLE.finditer(template))
    return HttpRule(verb, template, wire.body, wire.response_body, variables)


def _service_only(service: Service) -> bool:
    return all(method.access is not None and method.access.kind is AccessKind.SERVICE for method in service.methods)


def _problems(method: Method) -> Iterator[str]:
    options: Any = method.descriptor.GetOptions()
    name = method.full_name
    if not options.HasExtension(options_pb2.access):
        yield f"{name}: no access rule (option titan.options.v1.access)"
    elif method.access is None:
        kinds = _kinds(options.Extensions[options_pb2.access])
        yield f"{name}: the access rule must name exactly one kind of caller, it names {len(kinds)}"
    elif unknown := method.access.roles - ROLES:
        yield f"{name}: the access rule names unknown roles: {', '.join(sorted(unknown))}"
    if not options.HasField("idempotency_level"):
        yield f"{name}: no idempotency_level (NO_SIDE_EFFECTS, IDEMPOTENT, or IDEMPOTENCY_UNKNOWN in so many words)"
    if method.client_streaming:
        yield f"{name}: the runtime serves no client streams"
    if method.default_seconds > method.cap_seconds:
        yield f"{name}: the default deadline is above its cap"
    if method.http and method.access is not None and method.access.kind is AccessKind.SERVICE:
        yield f"{name}: a service method has an HTTP route"
    for rule in method.http:
        yield from _rule_problems(method, rule)


def _rule_problems(method: Method, rule: HttpRule) -> Iterator[str]:
    where = f"{method.full_name}: {rule.verb} {rule.template}"
    if rule.verb not in {"GET", "PUT", "POST", "DELETE", "PATCH"} or not rule.template.startswith("/"):
        yield f"{where}: not a route"
    for variable in rule.variables:
        found = _resolve(method.descriptor.input_type, variable)
        if found is None:
            yield f"{where}: variable {variable} is no field of {method.descriptor.input_type.full_name}"
        elif found.is_repeated or found.message_type is not None:
            yield f"{where}: variable {variable} is not a single value"
    if len(set(rule.variables)) != len(rule.variables):
        yield f"{where}: a variable stands twice"
    if rule.body not in ("", "*") and rule.body not in method.descriptor.input_type.fields_by_name:
        yield f"{where}: body {rule.body} is no field of {method.descriptor.input_type.full_name}"
    if rule.response_body and rule.response_body not in method.descriptor.output_type.fields_by_name:
        yield f"{where}: response_body {rule.response_body} is no field of {method.descriptor.output_type.full_name}"
    if rule.body and rule.verb in {"GET", "DELETE"}:
        yield f"{where}: a {rule.verb} has no body"


def _resolve(message: Descriptor, path: str) -> Any:
    found: Any = None
    current: Descriptor | None = message
    for name in path.split("."):
        found = current.fields_by_name.get(name) if current is not None else None
        if found is None:
            return None
        current = found.message_type
    return found
