"""Makes the request message of a route from the HTTP request, as the route's `google.api.http` rule says.

A field can come from the path, from a header, from the query or from the body. Where two of them bring it, they must
agree: a request that says two things is refused, because no reader could know which one counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any
from urllib.parse import unquote_to_bytes

from google.api import httpbody_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from edge_http import strict_json
from edge_http.errors import BodyNotJson
from edge_http.json_names import fields_by_any_name
from edge_http.json_reader import Problems, reader_of
from edge_http.json_scalars import Unfit, bool_text, scalar_of
from edge_http.schemas import must_be_given
from mesh.contract import Method, Route
from mesh.refusals import InvalidInput

MAX_PARAMETERS = 256
MAX_QUERY_LEVELS = 8
IDEMPOTENCY_KEY = "idempotency-key"
IF_MATCH = "if-match"

Headers = Sequence[tuple[bytes, bytes]]


class Binding:
    """Makes requests of one route. Everything that depends on descriptors alone is worked out once."""

    def __init__(self, route: Route) -> None:
        method, rule = route.method, route.rule
        self._class = method.request_class
        descriptor = method.descriptor.input_type
        self._descriptor = descriptor
        self._path = {name: _Leaf.of(descriptor, name) for name in rule.variables}
        self._body = rule.body
        self._body_field = descriptor.fields_by_name[rule.body] if rule.body not in ("", "*") else None
        self._raw_body = (
            self._body_field is not None and self._body_field.message_type is httpbody_pb2.HttpBody.DESCRIPTOR
        )
        elsewhere = {name.partition(".")[0] for name in rule.variables} | {*method.headers.values(), "request_id"}
        self._needs_body = self._body_field is not None or (
            rule.body == "*" and any(must_be_given(field) for field in descriptor.fields if field.name not in elsewhere)
        )
        # What the path or the body already brings cannot come in the query.
        self._not_in_query = {tuple(name.split(".")) for name in rule.variables}
        if self._body_field is not None:
            self._not_in_query.add((self._body_field.name,))
        headers = {name: _Leaf.of(descriptor, field) for name, field in method.headers.items()}
        if method.has_request_id:
            headers.setdefault(IDEMPOTENCY_KEY, _Leaf.of(descriptor, "request_id"))
        self._headers = {name.encode("ascii"): leaf for name, leaf in headers.items()}
        self._etag = None
        if method.is_mutation:
            path = _etag_path(descriptor)
            self._etag = _Leaf.of(descriptor, path) if path else None
        self._is_mutation = method.is_mutation
        self._is_landing = is_landing(method)

    def bind(self, captured: Iterable[tuple[str, str]], query: bytes, headers: Headers, body: bytes) -> Message:
        """Return the request message.

        Raises:
            InvalidInput: The request does not fit the contract's types, or says two things at once.
        """
        request = self._class()
        problems = Problems()
        if not self._is_landing:
            self._read_body(request, headers, body, problems)
            if query:
                self._read_query(request, query, problems)
        for name, raw in captured:
            leaf = self._path[name]
            leaf.put(request, _decoded(raw, leaf.shown, plus=False), problems)
        self._read_headers(request, headers, problems)
        problems.refuse()
        return request

    def _read_body(self, request: Any, headers: Headers, body: bytes, problems: Problems) -> None:
        if self._raw_body:
            assert self._body_field is not None
            raw = getattr(request, self._body_field.name)
            raw.data = body
            raw.content_type = _header(headers, b"content-type")
            return
        if not body:
            if self._needs_body and _says_json(headers):
                raise InvalidInput("the body is empty, and this call needs a JSON object")
            return
        if not self._body:
            raise InvalidInput("this route takes no body")
        _refuse_unless_json(headers)
        value = strict_json.parse(body)
        if self._body_field is None:
            reader_of(self._descriptor)(value, request, "", problems)
            return
        # The body is the value of one field: the path of a violation starts inside it.
        if self._body_field.message_type is None or self._body_field.is_repeated:
            reader_of(self._descriptor)({self._body_field.name: value}, request, "", problems)
            return
        child = getattr(request, self._body_field.name)
        child.SetInParent()
        reader_of(self._body_field.message_type)(value, child, "", problems)

    def _read_query(self, request: Any, query: bytes, problems: Problems) -> None:
        pairs = query.split(b"&")
        if len(pairs) > MAX_PARAMETERS:
            raise InvalidInput(f"more than {MAX_PARAMETERS} query parameters")
        seen: set[tuple[str, ...]] = set()
        for pair in pairs:
            if not pair:
                continue
            raw_name, _, raw_value = pair.partition(b"=")
            name = _decoded(raw_name, "the query", plus=True)
            leaf = None if self._body == "*" else _Leaf.find(self._descriptor, name)
            if leaf is None or leaf.steps in self._not_in_query or leaf.steps[:1] in self._not_in_query:
                problems.add(name[:256], "is not a query parameter of this route")
            elif leaf.steps in seen and not leaf.field.is_repeated:
                problems.add(name, "is given twice")
            else:
                seen.add(leaf.steps)
                leaf.put(request, _decoded(raw_value, name, plus=True), problems, shown=name)
            if problems.full:
                return

    def _read_headers(self, request: Any, headers: Headers, problems: Problems) -> None:
        for name, raw in headers:
            leaf = self._headers.get(name)
            if leaf is not None:
                value = _header_text(name, raw)
                if value:
                    leaf.put(request, value, problems, shown=name.decode("ascii"))
            elif name == b"if-match" and self._is_mutation:
                self._read_if_match(request, _header_text(name, raw), problems)

    def _read_if_match(self, request: Any, value: str, problems: Problems) -> None:
        if self._etag is None:
            problems.add(IF_MATCH, "has no meaning for this route: its request knows no etag")
            return
        if value == "*":
            return
        # Envoy weakens the ETag of a compressed answer; the version behind it is the same.
        stripped = value.removeprefix("W/")
        if len(stripped) < 2 or stripped[0] != '"' or stripped[-1] != '"' or '"' in stripped[1:-1]:
            problems.add(IF_MATCH, "must be one etag in double quotes")
            return
        self._etag.put(request, stripped[1:-1], problems, shown=IF_MATCH)


def is_landing(method: Method) -> bool:
    """Whether browsers are sent to a method by somebody else's page: it has effects, and a GET route all the same.

    Whoever sends them adds parameters or a form of their own making. Only the path of such a request is believed, and
    the rest is not read.
    """
    return method.is_mutation and any(rule.verb == "GET" for rule in method.http)


class _Leaf:
    """A field somewhere below a request that a text can fill."""

    def __init__(self, steps: tuple[str, ...], shown: str, field: FieldDescriptor) -> None:
        self.steps = steps
        self.shown = shown
        self.field = field
        self._read = _text_reader(field)

    @staticmethod
    def of(descriptor: Descriptor, path: str) -> _Leaf:
        leaf = _Leaf.find(descriptor, path)
        if leaf is None:
            raise ValueError(f"{path} of {descriptor.full_name} cannot be filled from a text")
        return leaf

    @staticmethod
    def find(descriptor: Descriptor, path: str) -> _Leaf | None:
        """Return the field under a dotted path in either spelling, or None where a text cannot fill it."""
        steps: list[str] = []
        shown: list[str] = []
        field: FieldDescriptor | None = None
        current: Descriptor | None = descriptor
        for name in path.split(".", MAX_QUERY_LEVELS):
            if current is None or (field is not None and field.is_repeated):
                return None
            field = fields_by_any_name(current).get(name)
            if field is None:
                return None
            steps.append(field.name)
            shown.append(field.json_name)
            current = field.message_type
        assert field is not None
        if current is not None and current.full_name not in _TEXT_MESSAGES:
            return None
        return _Leaf(tuple(steps), ".".join(shown), field)

    def put(self, request: Any, text: str, problems: Problems, *, shown: str | None = None) -> None:
        """Fill the field; a value that is there already must be the same."""
        where = shown or self.shown
        message = request
        for step in self.steps[:-1]:
            message = getattr(message, step)
        name = self.steps[-1]
        field = self.field
        if field.message_type is not None:
            child = getattr(message, name).add() if field.is_repeated else getattr(message, name)
            child.SetInParent()
            reader_of(field.message_type)(text, child, where, problems)
            return
        try:
            value = self._read(text)
        except Unfit as unfit:
            problems.add(where, str(unfit))
            return
        if field.is_repeated:
            getattr(message, name).append(value)
            return
        there = getattr(message, name)
        if there != value and (message.HasField(name) if field.has_presence else there != field.default_value):
            problems.add(where, f"contradicts {self.shown} of the request")
            return
        setattr(message, name, value)


_TEXT_MESSAGES = frozenset(
    {
        "google.protobuf.Timestamp",
        "google.protobuf.Duration",
        "google.protobuf.FieldMask",
        "google.protobuf.StringValue",
        "google.protobuf.Int32Value",
        "google.protobuf.Int64Value",
        "google.protobuf.UInt32Value",
        "google.protobuf.UInt64Value",
        "google.protobuf.DoubleValue",
        "google.protobuf.FloatValue",
        "google.protobuf.BytesValue",
    }
)


def _text_reader(field: FieldDescriptor) -> Callable[[str], Any]:
    if field.message_type is not None:
        return lambda text: text
    if field.type == FieldDescriptor.TYPE_BOOL:
        return bool_text
    scalar = scalar_of(field)
    if field.enum_type is not None:
        return lambda text: scalar(int(text) if text.isascii() and text.isdecimal() and len(text) < 12 else text)
    return scalar


def _etag_path(descriptor: Descriptor) -> str | None:
    """Return where a request takes the etag that the caller has seen: its own field, or its only resource's."""
    if _has_etag(descriptor):
        return "etag"
    holders = [
        field.name
        for field in descriptor.fields
        if field.message_type is not None and not field.is_repeated and _has_etag(field.message_type)
    ]
    return f"{holders[0]}.etag" if len(holders) == 1 else None


def _has_etag(descriptor: Descriptor) -> bool:
    field = descriptor.fields_by_name.get("etag")
    return field is not None and field.type == FieldDescriptor.TYPE_STRING and not field.is_repeated


def _header(headers: Headers, name: bytes) -> str:
    for key, value in headers:
        if key == name:
            return value.decode("latin-1")
    return ""


def _header_text(name: bytes, value: bytes) -> str:
    try:
        text = value.decode("ascii").strip()
    except UnicodeDecodeError:
        raise InvalidInput.of(name.decode("ascii"), "must be ASCII") from None
    return text


def _says_json(headers: Headers) -> bool:
    media, _, parameters = _header(headers, b"content-type").partition(";")
    charset = parameters.partition("charset=")[2].strip().strip('"').lower()
    return media.strip().lower() == "application/json" and charset in ("", "utf-8")


def _refuse_unless_json(headers: Headers) -> None:
    if not _says_json(headers):
        raise BodyNotJson("the body must be JSON in UTF-8: content-type application/json")
    if _header(headers, b"content-encoding").lower() not in ("", "identity"):
        raise BodyNotJson("the body must not be compressed")


_HEX = frozenset(b"0123456789abcdefABCDEF")


def _decoded(raw: str | bytes, where: str, *, plus: bool) -> str:
    """Return the text behind a percent-encoded piece of a URL."""
    data = raw.encode("latin-1") if isinstance(raw, str) else raw
    if plus:
        data = data.replace(b"+", b" ")
    if b"%" in data:
        for piece in data.split(b"%")[1:]:
            if len(piece) < 2 or piece[0] not in _HEX or piece[1] not in _HEX:
                raise InvalidInput.of(where[:256], "has a percent sign that encodes nothing")
        data = unquote_to_bytes(data)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidInput.of(where[:256], "is not UTF-8") from None
