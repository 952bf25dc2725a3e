"""Serves the description: `/openapi.json` for programs and `/docs` for people, both made once at the start.

Whoever asks for `/` is sent to `/docs`.
"""

from __future__ import annotations

from edge_http import docs, etags, json_writer, openapi
from edge_http.answer import Answer, HeaderList
from edge_http.asgi import Page
from edge_http.binding import Headers
from edge_http.comments import Comments
from edge_http.endpoint import IF_NONE_MATCH
from mesh.contract import Contract

_CACHE = (b"cache-control", b"public, max-age=60")


def pages(contract: Contract, comments: Comments) -> dict[str, Page]:
    """Return the pages of the description by path."""
    document = openapi.document(contract, comments)
    html, policy = docs.page(document, comments.reasons)
    return {
        "/openapi.json": _page(json_writer.encode(document), b"application/json", []),
        "/": _to_docs,
        "/docs": _page(html, b"text/html; charset=utf-8", [(b"content-security-policy", policy.encode("ascii"))]),
    }


async def _to_docs(request: Headers) -> Answer:
    return Answer(307, b"", b"text/plain", [_CACHE, (b"location", b"/docs")])


def _page(body: bytes, content_type: bytes, more: HeaderList) -> Page:
    etag = etags.of_body(body)
    headers = [_CACHE, (b"etag", etag.encode("ascii")), *more]

    async def answer(request: Headers) -> Answer:
        if any(name == IF_NONE_MATCH and etags.matches(value.decode("latin-1"), etag) for name, value in request):
            return Answer(304, headers=[*headers])
        return Answer(200, body, content_type, [*headers])

    return answer
