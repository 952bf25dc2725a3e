"""The description agrees with the descriptors: every route, every field, every limit, and examples that pass."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import protovalidate
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor

from edge_http import comments, docs, examples, json_reader, openapi, schemas
from edge_http.asgi import Edge
from edge_http.binding import Binding, is_landing
from edge_http.json_names import enum_names
from mesh import contract
from mesh.clients import Clients
from mesh.contract import AccessKind, Route
from tests.edge_http.everything import everything_contract

TITAN = contract.load()
COMMENTS = comments.load()
DOCUMENT = openapi.document(TITAN, COMMENTS)
ROUTES = [r for r in TITAN.routes() if r.method.access is not None and r.method.access.kind is not AccessKind.SERVICE]
OPERATIONS = {(path, verb): operation for path, verbs in DOCUMENT["paths"].items() for verb, operation in verbs.items()}
KEYWORDS = {
    "$ref", "additionalProperties", "allOf", "anyOf", "const", "description", "enum", "example", "exclusiveMaximum",
    "exclusiveMinimum", "format", "items", "maxItems", "maxLength", "maxProperties", "maximum", "minItems", "minLength",
    "minProperties", "minimum", "not", "oneOf", "pattern", "properties", "propertyNames", "required", "type",
    "uniqueItems", "x-titan-values",
}  # fmt: skip


def operation_of(route: Route) -> Any:
    return next(
        each
        for (path, verb), each in OPERATIONS.items()
        if each["x-titan-method"] == route.method.path and verb == route.rule.verb.lower()
    )


def schemas_in(value: Any) -> Iterator[Any]:
    """Every schema below a schema."""
    yield value
    for name in ("items", "additionalProperties", "propertyNames", "not"):
        if isinstance(value.get(name), dict):
            yield from schemas_in(value[name])
    for name in ("allOf", "anyOf", "oneOf"):
        for inner in value.get(name, ()):
            yield from schemas_in(inner)
    for inner in value.get("properties", {}).values():
        yield from schemas_in(inner)


def all_schemas() -> Iterator[Any]:
    for component in DOCUMENT["components"]["schemas"].values():
        yield from schemas_in(component)
    for operation in OPERATIONS.values():
        for parameter in operation.get("parameters", ()):
            yield from schemas_in(parameter["schema"])
        bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
        for body in bodies:
            for content in body.get("content", {}).values():
                yield from schemas_in(content["schema"])


def test_every_route_is_described_and_nothing_else() -> None:
    """What the edge serves and what it describes is one list; service methods are in neither."""
    served = {
        (endpoint.method.path, endpoint.route.rule.verb) for endpoint in Edge(TITAN, Clients("unix:/no")).endpoints
    }
    described = {(each["x-titan-method"], verb.upper()) for (_, verb), each in OPERATIONS.items()}

    assert served == described == {(route.method.path, route.rule.verb) for route in ROUTES}
    assert len(OPERATIONS) == len(ROUTES)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.rule.verb} {route.rule.template}")
def test_every_field_of_a_request_can_be_given(route: Route) -> None:
    """Each top-level field stands in the path, the query, a header or the body."""
    operation = operation_of(route)
    named = {parameter["name"].split(".")[0] for parameter in operation.get("parameters", ())}
    body: Any = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    named |= set(body.get("properties", {}))
    headers = set(route.method.headers.values()) | ({"request_id"} if route.method.has_request_id else set())
    variables = {variable.split(".")[0] for variable in route.rule.variables}

    for field in route.method.descriptor.input_type.fields:
        assert (
            field.json_name in named
            or field.name in headers
            or field.name in variables
            or field.name == route.rule.body
        ), field.full_name


def test_every_message_has_every_field() -> None:
    for name, schema in DOCUMENT["components"]["schemas"].items():
        if name == openapi.ERROR:
            continue
        descriptor = _descriptor(name)
        assert set(schema["properties"]) == {field.json_name for field in descriptor.fields}


def _descriptor(name: str) -> Descriptor:
    from google.protobuf import descriptor_pool

    return descriptor_pool.Default().FindMessageTypeByName(name)


def test_the_document_holds_together() -> None:
    """References resolve, ids are unique, path variables are parameters, and no keyword is a misspelling."""
    components = DOCUMENT["components"]["schemas"]
    for schema in all_schemas():
        assert set(schema) <= KEYWORDS, set(schema) - KEYWORDS
        assert set(schema.get("required", ())) <= set(schema.get("properties", schema.get("required", ())))
        if "pattern" in schema:
            re.compile(schema["pattern"])
    assert set(schemas.references(DOCUMENT)) <= set(components)
    ids = [operation["operationId"] for operation in OPERATIONS.values()]
    assert len(ids) == len(set(ids))
    tags = {tag["name"] for tag in DOCUMENT["tags"]}
    for (path, _), operation in OPERATIONS.items():
        in_path = {p["name"] for p in operation.get("parameters", ()) if p["in"] == "path"}
        assert in_path == set(re.findall(r"\{(\w+)\}", path)), path
        assert set(operation["tags"]) <= tags
        names = [(p["in"], p["name"]) for p in operation.get("parameters", ())]
        assert len(names) == len(set(names))
    shapes = [re.sub(r"\{\w+\}", "{}", path) for path in DOCUMENT["paths"]]
    assert len(shapes) == len(set(shapes)), "two paths of one shape are one path to OpenAPI"


def test_everything_that_is_described_has_a_text() -> None:
    """The contracts' comments reach the reader; a stale file of comments fails here."""
    for operation in OPERATIONS.values():
        assert operation["summary"], operation["operationId"]
        for parameter in operation.get("parameters", ()):
            assert parameter["description"], (operation["operationId"], parameter["name"])
    for name, schema in DOCUMENT["components"]["schemas"].items():
        # What comes from elsewhere (google.rpc.Status) has its comments elsewhere.
        if name.startswith("titan."):
            assert schema["description"], name
            assert all("description" in inner for inner in schema["properties"].values()), name


def test_access_and_keys_are_said() -> None:
    """A public call needs no token, any other does; a call that needs a key says so."""
    for route in ROUTES:
        operation = operation_of(route)
        public = route.method.access is not None and route.method.access.kind is AccessKind.PUBLIC
        assert ({} in operation["security"]) is public
        keys = [p for p in operation.get("parameters", ()) if p["name"].lower() == "idempotency-key"]
        assert [p["required"] for p in keys] == (
            [route.method.request_id_required] if route.method.has_request_id else []
        )


@pytest.mark.parametrize(
    "route",
    [r for r in ROUTES if r.rule.body == "*" and not is_landing(r.method)],
    ids=lambda route: f"{route.rule.verb} {route.rule.template}",
)
def test_every_example_passes_the_contract(route: Route) -> None:
    """Read as a request of its route, and held against the limits that the service will apply."""
    import json

    operation = operation_of(route)
    content = operation["requestBody"]["content"]["application/json"]
    paths = {p["name"]: p["example"] for p in operation.get("parameters", ()) if p["in"] == "path"}
    captured = [(name, str(paths[openapi._parameter(name)])) for name in route.rule.variables]
    headers = [(b"content-type", b"application/json")]
    headers += [(b"idempotency-key", b"k")] if route.method.has_request_id else []

    request = Binding(route).bind(captured, b"", headers, json.dumps(content["example"]).encode())

    assert not [str(v) for v in protovalidate.Validator().collect_violations(request)]
    assert set(content["schema"].get("required", ())) <= set(content["example"])


def test_the_examples_tell_one_story() -> None:
    """Every name in the tables is a field, every value can be read, and the sums of an order are sums."""
    for name, value in examples._STORY.items():
        holder, _, field = f"titan.{name}".rpartition(".")
        assert field in _descriptor(holder).fields_by_name, name
        if value is not examples._ABSENT:
            message = message_factory.GetMessageClass(_descriptor(holder))()
            json_reader.read({field: value}, message)
    order = examples.of_message(_descriptor("titan.order.v1.Order"), sent=False)
    (line,) = order["lines"]
    amounts = {name: int(order[name]["minorUnits"]) for name in ("total", "tax", "shipping", "refunded")}
    assert amounts == {"total": 2500, "tax": 417, "shipping": 0, "refunded": 0}
    assert int(line["unitPrice"]["minorUnits"]) * line["quantity"] == int(line["lineTotal"]["minorUnits"]) == 2500
    assert (line["sellerId"], line["allocations"]) == ("house", [{"warehouseId": "main", "quantity": 2}])
    assert (order["status"], order["paymentStatus"], line["title"]) == ("CONFIRMED", "AUTHORIZED", "A blue mug")
    assert "nextAction" not in order


def test_one_of_a_thing_is_singular() -> None:
    """ "At least 1 character", and not one of many."""
    assert docs._limits({"type": "string", "minLength": 1}) == ["at least 1 character"]
    assert docs._limits({"type": "array", "items": {}, "maxItems": 1}) == ["at most 1 item"]
    assert docs._limits({"type": "string", "minLength": 1, "maxLength": 128}) == ["1 to 128 characters"]


def test_limits_become_keywords() -> None:
    """A few known by heart, so that a change of the translation is seen."""
    pages = {p["name"]: p["schema"] for p in OPERATIONS["/v1/products", "get"]["parameters"]}
    assert pages["pageSize"] == {"type": "integer", "format": "int32", "minimum": 0, "maximum": 100}
    place = OPERATIONS["/v1/orders", "post"]["requestBody"]["content"]["application/json"]["schema"]
    assert place["properties"]["lines"]["maxItems"] == 1000
    assert place["additionalProperties"] is False
    assert {"expectedTotal", "shippingAddress", "payment"} <= set(place["required"])
    line = DOCUMENT["components"]["schemas"]["titan.order.v1.PlaceOrderLine"]
    assert (line["properties"]["quantity"]["minimum"], line["required"]) == (1, ["sku", "quantity"])
    money = DOCUMENT["components"]["schemas"]["titan.type.v1.Money"]["properties"]
    assert (money["minorUnits"]["type"], money["currencyCode"]["pattern"]) == ("string", "^[A-Z]{3}$")
    method = DOCUMENT["components"]["schemas"]["titan.payment.v1.PaymentMethod"]
    assert {"required": ["wallet"]} in method["allOf"][0]["oneOf"]


def test_enum_values_are_described_as_they_are_written() -> None:
    order = DOCUMENT["components"]["schemas"]["titan.order.v1.Order"]["properties"]
    field = _descriptor("titan.order.v1.Order").fields_by_name["status"]

    assert order["status"]["enum"] == list(enum_names(field.enum_type).values())
    assert "CONFIRMED" in order["status"]["enum"]


def test_messages_that_only_come_back_say_what_is_always_there() -> None:
    order = DOCUMENT["components"]["schemas"]["titan.order.v1.Order"]

    assert {"orderId", "status", "lines"} <= set(order["required"])
    assert "nextAction" not in order["required"]


def test_every_kind_of_binding_can_be_described() -> None:
    """The test contract has them all: parts of the path, of the request and of the answer, bytes, streams, oneofs."""
    document = openapi.document(everything_contract(), COMMENTS)

    assert set(document["paths"]) == {
        "/v1/things/{name}/parts/{number}",
        "/v1/things",
        "/v1/things/{number}:read",
        "/v1/files/{name}",
        "/v1/things/{name}",
        "/v1/files/{name}:convert",
        "/v1/names",
        "/v1/things/{name}:watch",
        "/v1/things/{name}:land",
    }
    named = {p["name"] for p in document["paths"]["/v1/things"]["get"]["parameters"]}
    assert {"thing.size.edgesMm", "since", "kinds"} <= named
    assert "labels" not in named
    watch = document["paths"]["/v1/things/{name}:watch"]["get"]["responses"]["200"]["content"]
    assert watch["text/event-stream"]["x-titan-event"]["$ref"].endswith("ChangeResponse")
    names = document["paths"]["/v1/names"]["get"]["responses"]["200"]["content"]["application/json"]
    assert names["schema"]["type"] == "array"


class _Page(HTMLParser):
    """Collects ids and links, and checks that elements are closed in order."""

    VOID = frozenset({"meta", "input", "wbr", "br", "link"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.outside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "src"):
                (self.links if (value or "").startswith("#") else self.outside).append(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_stands_alone_and_its_links_lead_somewhere() -> None:
    """Every operation has its place; nothing is loaded from elsewhere."""
    html, policy = docs.page(DOCUMENT, COMMENTS.reasons)
    page = _Page()
    page.feed(html.decode())

    assert page.open == []
    assert page.outside == ["/openapi.json"]
    assert len(page.ids) == len(set(page.ids))
    assert {link.removeprefix("#") for link in page.links} <= set(page.ids)
    assert {operation["operationId"] for operation in OPERATIONS.values()} <= set(page.ids)
    assert policy.startswith("default-src 'none'")


def test_texts_of_the_contract_cannot_break_the_page() -> None:
    evil = comments.Comments({name: "<script>alert(1)</script> `<b>`" for name in COMMENTS.by_name}, COMMENTS.reasons)
    html, _ = docs.page(openapi.document(TITAN, evil), evil.reasons)

    assert b"<script>alert" not in html
    assert b"<b>" not in html
