"""One route of one method: bind the request, call the service, write the answer."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from functools import partial
from typing import Any

import grpc
from google.api import httpbody_pb2
from google.protobuf.message import Message

from edge_http import etags, json_writer
from edge_http.answer import Answer
from edge_http.binding import Binding, Headers
from edge_http.recent import Asked, Recent
from edge_http.rendered import Rendered
from mesh.clients import Clients, Metadata
from mesh.contract import AccessKind, Idempotency, Route
from mesh.identity import MAX_TOKEN_CHARACTERS
from mesh.refusals import InvalidInput, Refusal, TokenInvalid

AUTHORIZATION = b"authorization"
IF_NONE_MATCH = b"if-none-match"
CLIENT_ADDRESS = b"x-titan-client-ip"
"""Written by the edge's Envoy, which removes what a client sends under this name."""

LONGEST_AUTHORIZATION_CHARACTERS = len("Bearer ") + MAX_TOKEN_CHARACTERS
PUBLIC_SECONDS = 5
_PUBLIC = (b"cache-control", b"public, max-age=%d" % PUBLIC_SECONDS)
_PRIVATE = (b"cache-control", b"no-store")

UNCHANGED = frozenset(
    {
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)
"""A change was refused for who asked or for what they sent: nothing that anybody reads is another for it.

Without these, whoever has no right to change a page could keep it from being kept. After any other failure something
may have changed. What an attempt without an answer did, before the next one was refused like this, shows within the
second, as every change over gRPC.
"""

LONGEST_FILE_NAME_CHARACTERS = 80
_NO_FILE_NAME = re.compile(r"[^A-Za-z0-9-]+")
_EXTENSIONS = {b"text/csv": ".csv", b"application/x-ndjson": ".ndjson", b"text/html": ".html"}


class Endpoint:
    """What one route does; `name` is its method and template, for logs and metrics."""

    def __init__(
        self, route: Route, clients: Clients, rendered: Rendered | None = None, recent: Recent | None = None
    ) -> None:
        """Work out everything that the descriptors decide; `rendered` and `recent` keep what anybody may read."""
        method, rule = route.method, route.rule
        self.route = route
        self.method = method
        self.name = f"{rule.verb} {rule.template}"
        self.streams = method.server_streaming
        self._binding = Binding(route)
        stub = clients.of_service(method.descriptor.containing_service)
        self._call = getattr(stub, method.name)
        response = method.descriptor.output_type
        self._part = rule.response_body
        shown = response.fields_by_name[self._part].message_type if self._part else response
        self._is_raw = shown is httpbody_pb2.HttpBody.DESCRIPTOR
        self._named_by = rule.variables[0] if rule.variables else ""
        is_read = rule.verb == "GET" and method.idempotency is Idempotency.NO_SIDE_EFFECTS
        is_public = method.access is not None and method.access.kind is AccessKind.PUBLIC
        self._cacheable = is_read and is_public and not self.streams
        self._conditional = is_read and not self.streams
        plain = not self._part and not self._is_raw
        self._rendered = rendered if self._cacheable and plain else None
        self._recent = recent if self._cacheable else None
        self._outdates = recent if method.is_mutation else None
        self._etag = etags.version_getter(response, "etag")
        self._event_id = etags.version_getter(response, "etag", "version")

    def bind(self, captured: tuple[tuple[str, str], ...], query: bytes, headers: Headers, body: bytes) -> Message:
        """Return the request of this method.

        Raises:
            InvalidInput: The HTTP request does not fit it.
        """
        return self._binding.bind(captured, query, headers, body)

    def recent(self, asked: Asked, headers: Headers) -> Answer | None:
        """Return the answer that somebody got within the last second, where anybody may read it."""
        if self._recent is None or _has_token(headers):
            return None
        found = self._recent.find(asked)
        return found and self._unless_known(found, headers)

    async def answer(self, asked: Asked, request: Message, headers: Headers) -> Answer:
        """Call, and return the answer.

        Raises:
            Refusal: The service said no, or could not be reached.
        """
        metadata = metadata_of(headers)
        if self._recent is None or _has_token(headers):
            answer = await self._ask(request, metadata)
        else:
            answer = await self._recent.ask(asked, partial(self._ask, request, metadata))
        return self._unless_known(answer, headers)

    async def _ask(self, request: Message, metadata: Metadata) -> Answer:
        try:
            response = await self._call(request, metadata=metadata)
        except BaseException as error:
            if self._outdates is not None and not (isinstance(error, Refusal) and error.code in UNCHANGED):
                self._outdates.forget()
            raise
        if self._outdates is not None:
            self._outdates.forget()
        return self._answer_of(request, response)

    def _answer_of(self, request: Message, response: Any) -> Answer:
        content_type, body = self._body_of(response)
        etag = self._etag_of(response, body)
        out = [_PUBLIC if self._cacheable else _PRIVATE]
        if self._is_raw:
            out.append((b"content-disposition", b'attachment; filename="%s"' % self._file_name(request, content_type)))
        if etag:
            out.append((b"etag", etag.encode("ascii")))
        return Answer(200, body, content_type, out, etag=etag)

    def _unless_known(self, answer: Answer, headers: Headers) -> Answer:
        """Return the answer, or that the client has it already."""
        if answer.etag and self._conditional and _is_known(headers, answer.etag):
            return Answer(304, headers=answer.headers)
        return answer

    async def messages(self, request: Message, headers: Headers) -> AsyncGenerator[tuple[str, bytes], None]:
        """Call, and yield each message of the stream as (id, JSON); the id is empty where it has no version.

        Raises:
            Refusal: The service said no, or could not be reached.
        """
        stream = self._call(request, metadata=metadata_of(headers))
        try:
            async for message in stream:
                version = self._event_id(message) if self._event_id is not None else ""
                yield (version if etags.quoted(version) else ""), json_writer.to_bytes(message)
        finally:
            await stream.aclose()

    def _body_of(self, response: Any) -> tuple[bytes, bytes]:
        if self._rendered is not None:
            return b"application/json", self._rendered.json_of(response)
        if not self._part:
            if self._is_raw:
                return _raw(response)
            return b"application/json", json_writer.to_bytes(response)
        if self._is_raw:
            return _raw(getattr(response, self._part))
        field = response.DESCRIPTOR.fields_by_name[self._part]
        value = json_writer.to_value(response)
        return b"application/json", json_writer.encode(value.get(field.json_name, {}))

    def _file_name(self, request: Message, content_type: bytes) -> bytes:
        """Return what a browser may call a file: after what the path names, never after what somebody called it."""
        value: Any = request
        for field in self._named_by.split(".") if self._named_by else ():
            value = getattr(value, field)
        name = _NO_FILE_NAME.sub("_", str(value) if self._named_by else "")[:LONGEST_FILE_NAME_CHARACTERS]
        kind = content_type.partition(b";")[0].strip().lower()
        return ((name or "file") + _EXTENSIONS.get(kind, "")).encode("ascii")

    def _etag_of(self, response: Any, body: bytes) -> str:
        if self._etag is not None:
            etag = etags.quoted(self._etag(response))
            if etag:
                return etag
        return etags.of_body(body) if self._cacheable else ""


def metadata_of(headers: Headers) -> Metadata:
    """Return the gRPC metadata that a call carries on: the caller's token and address.

    Every copy of a header goes on, so that the service sees a doubled token and refuses it.

    Raises:
        TokenInvalid: The token holds characters that no token has, or more of them than any.
    """
    found = []
    for name, value in headers:
        if name == AUTHORIZATION or name == CLIENT_ADDRESS:
            try:
                text = value.decode("ascii").strip()
            except UnicodeDecodeError:
                text = "\x00"
            if name == AUTHORIZATION and len(text) > LONGEST_AUTHORIZATION_CHARACTERS:
                # gRPC would refuse such metadata as a matter of resources, and the client would try again for ever.
                raise TokenInvalid("the access token is not valid")
            if not text.isprintable():
                if name == AUTHORIZATION:
                    raise TokenInvalid("the access token is malformed")
                raise InvalidInput.of(name.decode("ascii"), "is malformed")
            found.append((name.decode("ascii"), text))
    return tuple(found)


def _has_token(headers: Headers) -> bool:
    return any(name == AUTHORIZATION for name, _ in headers)


def _is_known(headers: Headers, etag: str) -> bool:
    return any(name == IF_NONE_MATCH and etags.matches(value.decode("latin-1"), etag) for name, value in headers)


def _raw(body: Any) -> tuple[bytes, bytes]:
    content_type = body.content_type or "application/octet-stream"
    if not content_type.isascii() or not content_type.isprintable():
        content_type = "application/octet-stream"
    return content_type.encode("ascii"), body.data
