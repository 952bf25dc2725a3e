"""The demo's view of the edge: one call, one line on the screen."""

from __future__ import annotations

import ssl
import time
from dataclasses import dataclass, field
from typing import Any

import httpx
from rich.console import Console

CALL_SECONDS = 20.0


class Surprise(Exception):
    """An answer that is not what a shopper would expect; the message says which."""


@dataclass
class Tally:
    """How many calls were made: those with a line on the screen, and those without."""

    listed: int = 0
    unlisted: int = 0


@dataclass
class Shop:
    """A client of the edge of a running mesh that prints every call."""

    http: httpx.Client
    console: Console
    token: str = ""
    tally: Tally = field(default_factory=Tally)

    @classmethod
    def at(cls, endpoints: dict[str, Any], console: Console) -> Shop:
        """Return a client that believes the mesh's own authority alone."""
        trust = ssl.create_default_context(cafile=endpoints["ca"])
        # The mesh is on this machine: a proxy that the environment names has no business here.
        http = httpx.Client(base_url=endpoints["edge"], verify=trust, timeout=CALL_SECONDS, trust_env=False)
        return cls(http, console)

    def call(
        self, method: str, path: str, body: Any = None, *, key: str = "", expect: int = 200, quiet: bool = False
    ) -> Any:
        """Make one call, print it, and return the JSON of its answer.

        Raises:
            Surprise: The answer has another HTTP status than the expected one.
        """
        headers = {"authorization": f"Bearer {self.token}"} if self.token else {}
        if key:
            headers["idempotency-key"] = key
        began = time.perf_counter()
        response = self.http.request(method, path, json=body, headers=headers)
        milliseconds = (time.perf_counter() - began) * 1000
        if quiet:
            self.tally.unlisted += 1
        else:
            self.show(method, path, response, milliseconds)
        if response.status_code != expect:
            raise Surprise(f"{method} {path} answered {response.status_code}, not {expect}: {response.text}")
        try:
            return response.json()
        except ValueError:
            raise Surprise(f"{method} {path} answered something that is no JSON: {response.text[:200]}") from None

    def show(self, method: str, address: str, response: httpx.Response, milliseconds: float) -> None:
        """Print the line of a call, and count it."""
        self.tally.listed += 1
        line = f"  {method:5} {address:46} {response.status_code}  {milliseconds:7.1f} ms"
        self.console.print(line, style="dim", markup=False)

    def as_user(self, token: str) -> Shop:
        """Return the same client, with the same tally, for somebody else."""
        return Shop(self.http, self.console, token, self.tally)


def pounds(amount: dict[str, Any]) -> str:
    """Return an amount of the edge as people write it."""
    minor = int(amount["minorUnits"])
    sign = "-" if minor < 0 else ""
    return f"{sign}{amount['currencyCode']} {abs(minor) // 100:,}.{abs(minor) % 100:02d}"


def gbp(minor: int) -> dict[str, str]:
    """Return an amount in pence as the edge reads it."""
    return {"currencyCode": "GBP", "minorUnits": str(minor)}
