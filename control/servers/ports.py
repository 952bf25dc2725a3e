"""Ports on 127.0.0.1 for servers and meshes that were given none."""

from __future__ import annotations

import random
import socket

from control.home import PORT_SPAN

HOST = "127.0.0.1"

FIRST_BLOCK, LAST_BLOCK = 19_000, 32_600
"""Below the ports that Linux gives to outgoing connections (32,768 and up): any client may take one of those while its
server starts again. Above the ports of a mesh that was told nothing."""

_claims: list[socket.socket] = []
_free: list[int] = []


def port_is_taken(port: int) -> bool:
    """Say whether something on this machine listens on a port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return True
    return False


def claim_block() -> int:
    """Return the first of `PORT_SPAN` free ports that no other process gets from here while this one lives.

    The claim is a socket with a name and no file, so the kernel forgets it with its process, however that ends.

    Raises:
        OSError: There is no free block.
    """
    blocks = range(FIRST_BLOCK, LAST_BLOCK + 1, PORT_SPAN)
    for block in random.sample(blocks, len(blocks)):
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            claim.bind(f"\0titan-ports-{block}")
        except OSError:
            claim.close()
            continue
        if any(port_is_taken(port) for port in range(block, block + PORT_SPAN)):
            claim.close()
            continue
        _claims.append(claim)
        return block
    raise OSError(f"no {PORT_SPAN} free ports in a row from {FIRST_BLOCK} to {LAST_BLOCK + PORT_SPAN - 1}")


def free_port() -> int:
    """Return a port that nothing listens on, and that nobody else gets from here while this process lives.

    Raises:
        OSError: There is none.
    """
    if not _free:
        block = claim_block()
        _free.extend(range(block, block + PORT_SPAN))
    return _free.pop()
