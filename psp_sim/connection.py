"""Lets a handler cut its connection, which ASGI by itself has no word for.

The transport is put into the scope by uvicorn's own protocol class, so no private state is reached into.
"""

import asyncio

from starlette.requests import Request
from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_TRANSPORT = "psp_sim.transport"


class CuttableProtocol(HttpToolsProtocol):
    """The HTTP/1.1 protocol of uvicorn, with the transport handed to the application."""

    def on_message_begin(self) -> None:
        """Put the transport into the scope of the request that begins."""
        super().on_message_begin()
        self.scope[_TRANSPORT] = self.transport  # type: ignore[literal-required]


async def cut(request: Request) -> Response:
    """Close the connection; the response that is returned goes nowhere."""
    request.scope[_TRANSPORT].abort()
    # The server learns of the closed connection in the next round of its loop.
    await asyncio.sleep(0.001)
    return Response(status_code=499)
