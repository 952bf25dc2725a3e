"""The OpenAPI 3.1 description of everything that the edge serves, made from descriptors and comments.

Nothing in it is written by hand: a method appears with its route, its parameters, its limits, who may call it and what
it refuses with as soon as the contract says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from google.api import httpbody_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from edge_http import examples, schemas
from edge_http.binding import IDEMPOTENCY_KEY, is_landing
from edge_http.comments import Comments
from edge_http.endpoint import PUBLIC_SECONDS
from edge_http.router import parse
from edge_http.schemas import COMPONENTS, Schema
from mesh.contract import Access, AccessKind, Contract, HttpRule, Idempotency, Method, Route
from mesh.topology import MAX_BODY_BYTES

SHOWN_QUERY_LEVELS = 3
ERROR = "Error"
_ERROR_REPLY = {"$ref": "#/components/responses/Error"}
_HTTP_BODY = httpbody_pb2.HttpBody.DESCRIPTOR

_INTRODUCTION = f"""\
JSON as proto3 writes it: camelCase names (snake_case is read too), 64-bit integers as texts, times in RFC 3339, enum
values without their prefix. Unknown names, duplicate names and bodies above {MAX_BODY_BYTES // 1024**2} MiB are
refused.

Every error is `{{"error": {{"code", "status", "message", "details"}}}}` (AIP-193). Its first detail has the `reason`,
which programs may rely on; the message is for people.

A call with an `Idempotency-Key` gives the same answer every time the same key and the same body are sent. Reads that
anybody may make are cacheable for {PUBLIC_SECONDS} seconds and answer `304` to an `If-None-Match` that still holds."""


def document(contract: Contract, comments: Comments, *, title: str = "Titan", version: str = "v1") -> Schema:
    """Return the whole description as a JSON value."""
    return _Document(contract, comments).write(title, version)


class _Document:
    def __init__(self, contract: Contract, comments: Comments) -> None:
        self._contract = contract
        self._comments = comments
        self._routes = [
            r for r in contract.routes() if r.method.access and r.method.access.kind is not AccessKind.SERVICE
        ]
        self._descriptors: dict[str, Descriptor] = {}
        self._sent: set[str] = set()
        self._returned: set[str] = set()

    def write(self, title: str, version: str) -> Schema:
        for route in self._routes:
            self._note(route.method.descriptor.input_type, self._sent)
            self._note(route.method.descriptor.output_type, self._returned)
        paths: Schema = {}
        for route in self._routes:
            operations = paths.setdefault(_path(route.rule), {})
            operations[route.rule.verb.lower()] = self._operation(route)
        services = {route.method.service: None for route in self._routes}
        return {
            "openapi": "3.1.0",
            "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
            "info": {"title": title, "version": version, "description": _INTRODUCTION},
            "servers": [{"url": "/"}],
            "tags": [{"name": _short(name), "description": self._comments.of(name)} for name in services],
            "paths": paths,
            "components": {
                "schemas": self._components(paths),
                "responses": {
                    ERROR: {
                        "description": "The call was refused or failed.",
                        "headers": {
                            "Retry-After": {
                                "description": "Seconds to wait before asking again, where that helps.",
                                "schema": {"type": "integer", "minimum": 1},
                            }
                        },
                        "content": {"application/json": {"schema": {"$ref": f"{COMPONENTS}{ERROR}"}}},
                    }
                },
                "securitySchemes": {
                    "bearerAuth": {
                        "type": "http",
                        "scheme": "bearer",
                        "bearerFormat": "JWT",
                        "description": "The access token of a session.",
                    }
                },
            },
        }

    def _note(self, descriptor: Descriptor, into: set[str]) -> None:
        if descriptor.full_name in into:
            return
        into.add(descriptor.full_name)
        self._descriptors[descriptor.full_name] = descriptor
        for field in descriptor.fields:
            if field.message_type is not None:
                self._note(field.message_type, into)

    def _components(self, paths: Schema) -> Schema:
        """Return every schema that the operations need, directly or through another, by name."""
        found: Schema = {ERROR: _error(self._comments)}
        waiting = sorted(set(schemas.references(paths)))
        while waiting:
            name = waiting.pop()
            if name in found:
                continue
            role = "output" if name not in self._sent else "input" if name not in self._returned else "both"
            found[name] = schemas.of_message(self._descriptors[name], self._comments, role=role)
            waiting += schemas.references(found[name])
        return dict(sorted(found.items()))

    def _operation(self, route: Route) -> Schema:
        method, rule = route.method, route.rule
        position = method.http.index(rule)
        operation: Schema = {
            "operationId": f"{_short(method.service)}_{method.name}" + (f"_{position + 1}" if position else ""),
            "tags": [_short(method.service)],
            "summary": self._comments.summary(method.full_name),
            "description": self._comments.of(method.full_name),
            "security": _security(method.access),
            "x-titan-access": str(method.access),
            "x-titan-method": method.path,
            "x-titan-refusals": self._comments.refusals(method),
        }
        parameters = [*self._path_parameters(route), *self._query_parameters(route), *self._headers(method)]
        if parameters:
            operation["parameters"] = parameters
        body = self._body(route)
        if body is not None:
            operation["requestBody"] = body
        operation["responses"] = self._responses(route)
        return operation

    def _path_parameters(self, route: Route) -> Iterator[Schema]:
        for name in route.rule.variables:
            field = _resolve(route.method.descriptor.input_type, name)
            yield {
                "name": _parameter(name),
                "in": "path",
                "required": True,
                **self._described(field),
                "example": examples.of_field(field),
            }

    def _query_parameters(self, route: Route) -> Iterator[Schema]:
        method = route.method
        if route.rule.body == "*" or is_landing(method):
            return
        taken = {*route.rule.variables, *method.headers.values(), route.rule.body}
        if method.has_request_id:
            taken.add("request_id")
        for path, field in _leaves(method.descriptor.input_type, (), SHOWN_QUERY_LEVELS):
            if ".".join(each.name for each in path) in taken or path[0].name in taken:
                continue
            yield {
                "name": ".".join(each.json_name for each in path),
                "in": "query",
                "required": len(path) == 1 and schemas.must_be_given(field),
                **self._described(field),
            }

    def _headers(self, method: Method) -> Iterator[Schema]:
        if method.has_request_id and IDEMPOTENCY_KEY not in method.headers:
            field = method.descriptor.input_type.fields_by_name["request_id"]
            yield {
                "name": "Idempotency-Key",
                "in": "header",
                "required": method.request_id_required,
                **self._described(field),
                "example": examples.of_field(field),
            }
        for header, name in method.headers.items():
            field = method.descriptor.input_type.fields_by_name[name]
            wanted = schemas.must_be_given(field)
            yield {"name": header, "in": "header", "required": wanted, **self._described(field)}

    def _described(self, field: FieldDescriptor) -> Schema:
        schema = schemas.of_field(field, self._comments)
        text = schema.pop("description", "")
        return {"description": text, "schema": schema} if text else {"schema": schema}

    def _body(self, route: Route) -> Schema | None:
        method, rule = route.method, route.rule
        request = method.descriptor.input_type
        if not rule.body or is_landing(method):
            return None
        if rule.body == "*":
            elsewhere = {name for name in rule.variables if "." not in name} | set(method.headers.values())
            schema = schemas.of_message(request, self._comments, role="input", without=elsewhere)
            if method.has_request_id and "requestId" in schema.get("required", ()):
                # The header brings it; the body may repeat it.
                schema["required"].remove("requestId")
            example: Any = examples.of_message(request, sent=True, without=elsewhere | {"request_id"})
            return {
                "required": bool(schema.get("required")),
                "content": {"application/json": {"schema": schema, "example": example}},
            }
        field = request.fields_by_name[rule.body]
        if field.message_type is _HTTP_BODY:
            return {
                "required": True,
                "description": self._comments.of(field.full_name),
                "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}},
            }
        described = self._described(field)
        return {
            "required": schemas.must_be_given(field),
            "content": {"application/json": {"schema": described["schema"], "example": examples.of_field(field)}},
        }

    def _responses(self, route: Route) -> Schema:
        method, rule = route.method, route.rule
        responses: Schema = {"200": self._success(route)}
        if rule.verb == "GET" and method.idempotency is Idempotency.NO_SIDE_EFFECTS and not method.server_streaming:
            responses["304"] = {"description": "What the client has, by its If-None-Match, is still so."}
        if method.access is not None and method.access.kind is not AccessKind.PUBLIC:
            responses["401"] = _ERROR_REPLY
        if method.access is not None and method.access.kind is AccessKind.ROLES:
            responses["403"] = _ERROR_REPLY
        responses["default"] = _ERROR_REPLY
        return responses

    def _success(self, route: Route) -> Schema:
        method, rule = route.method, route.rule
        response = method.descriptor.output_type
        text = self._comments.of(response.full_name) or "The answer."
        headers = {
            "x-titan-trace-id": {"description": "The trace of this exchange.", "schema": {"type": "string"}},
        }
        if method.server_streaming:
            return {
                "description": f"{text} One event for each message; its data is the message, its id the etag.",
                "headers": headers,
                "content": {
                    "text/event-stream": {
                        "schema": {"type": "string"},
                        "x-titan-event": {"$ref": f"{COMPONENTS}{response.full_name}"},
                    }
                },
            }
        if rule.response_body:
            field = response.fields_by_name[rule.response_body]
            schema = schemas.of_field(field, self._comments)
            example = examples.of_message(response, sent=False).get(field.json_name)
            return {
                "description": text,
                "headers": headers,
                "content": {"application/json": {"schema": schema, "example": example}},
            }
        if response is _HTTP_BODY:
            return {
                "description": text,
                "headers": headers,
                "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}},
            }
        return {
            "description": text,
            "headers": headers,
            "content": {
                "application/json": {
                    "schema": {"$ref": f"{COMPONENTS}{response.full_name}"},
                    "example": examples.of_message(response, sent=False),
                }
            },
        }


def _leaves(
    descriptor: Descriptor, above: tuple[FieldDescriptor, ...], depth: int
) -> Iterator[tuple[tuple[FieldDescriptor, ...], FieldDescriptor]]:
    """Yield every field below a message that the query can fill, with the fields on the way to it."""
    for field in descriptor.fields:
        path = (*above, field)
        inner = field.message_type
        if inner is None or inner.full_name.startswith("google.protobuf."):
            yield path, field
        elif not field.is_repeated and inner is not _HTTP_BODY and depth > 1:
            yield from _leaves(inner, path, depth - 1)


def _resolve(descriptor: Descriptor, path: str) -> FieldDescriptor:
    *above, last = path.split(".")
    current = descriptor
    for name in above:
        inner = current.fields_by_name[name].message_type
        assert inner is not None
        current = inner
    return current.fields_by_name[last]


def _parameter(variable: str) -> str:
    """Return a path variable's name: its last step, so that two routes of one shape name it alike."""
    head, *rest = variable.rpartition(".")[2].split("_")
    return head + "".join(word.capitalize() for word in rest)


def _path(rule: HttpRule) -> str:
    template = parse(rule.template)
    segments = list(template.segments)
    for variable, first, last in template.variables:
        segments[first:last] = [f"{{{_parameter(variable)}}}", *[""] * (last - first - 1)]
    return "/" + "/".join(segment for segment in segments if segment) + (f":{template.verb}" if template.verb else "")


def _short(name: str) -> str:
    return name.rpartition(".")[2]


def _security(access: Access | None) -> list[Schema]:
    if access is None or access.kind is AccessKind.PUBLIC:
        return [{}, {"bearerAuth": []}]
    return [{"bearerAuth": []}]


def _error(comments: Comments) -> Schema:
    return {
        "type": "object",
        "description": "What every refusal and failure looks like (AIP-193).",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["code", "status", "message", "details"],
                "properties": {
                    "code": {"type": "integer", "description": "The HTTP status."},
                    "status": {"type": "string", "description": "The name of the google.rpc.Code."},
                    "message": {"type": "string", "description": "For people; nothing may rely on its words."},
                    "details": {
                        "type": "array",
                        "description": "The ErrorInfo first; RetryInfo and BadRequest where they apply.",
                        "items": {
                            "type": "object",
                            "required": ["@type"],
                            "properties": {
                                "@type": {"type": "string"},
                                "reason": {"type": "string", "enum": sorted(comments.reasons)},
                                "domain": {"type": "string", "const": "titan"},
                                "metadata": {"type": "object", "additionalProperties": {"type": "string"}},
                                "retryDelay": {"type": "string"},
                                "fieldViolations": {
                                    "type": "array",
                                    "items": {
                                        "type": "object",
                                        "required": ["field", "description"],
                                        "properties": {
                                            "field": {"type": "string"},
                                            "description": {"type": "string"},
                                        },
                                    },
                                },
                            },
                        },
                    },
                },
            }
        },
        "example": {
            "error": {
                "code": 400,
                "status": "INVALID_ARGUMENT",
                "message": "pageSize: must be a whole number, not a text",
                "details": [
                    {
                        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                        "reason": "INVALID_INPUT",
                        "domain": "titan",
                        "metadata": {},
                    },
                    {
                        "@type": "type.googleapis.com/google.rpc.BadRequest",
                        "fieldViolations": [{"field": "pageSize", "description": "must be a whole number, not a text"}],
                    },
                ],
            }
        },
    }
