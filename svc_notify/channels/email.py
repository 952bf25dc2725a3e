"""E-mail by SMTP: a few connections, each in a thread, each carrying a share of the messages (RFC 5321, RFC 5322)."""

from __future__ import annotations

import asyncio
import enum
import smtplib
import ssl
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from email.headerregistry import Address
from email.utils import formataddr, parseaddr

from mesh.secret_files import SecretFile, SecretUnusable
from svc_notify.channels import mime
from svc_notify.channels.dialogue import Dialogue, Written, code_of_error
from svc_notify.channels.interface import ChannelKind, Message, Outcome, Verdict

CONNECTIONS = 2
TIMEOUT_SECONDS = 10.0
"""For each answer of the server."""


class Security(enum.StrEnum):
    """How the connection to the mail server is kept private."""

    NONE = "none"
    STARTTLS = "starttls"
    TLS = "tls"


@dataclass(frozen=True)
class SmtpSettings:
    """Where the mail server is, and who writes."""

    host: str
    port: int
    sender: str = "Titan <orders@titan.local>"
    security: Security = Security.NONE
    user: str = ""
    password: SecretFile | None = None


class EmailChannel:
    """Sends e-mail through one mail server."""

    kind = ChannelKind.EMAIL

    def __init__(self, settings: SmtpSettings, *, connections: int = CONNECTIONS) -> None:
        self._settings = settings
        self._connections = connections
        self._threads = ThreadPoolExecutor(connections, thread_name_prefix="smtp")
        name, address = parseaddr(settings.sender)
        self._from = Address(addr_spec=address)
        self._sender = formataddr((name, address))

    def mask(self, recipient: str) -> str:
        """Return the first letter and the domain."""
        local, _, domain = recipient.rpartition("@")
        return f"{local[:1]}***@{domain}"

    async def send(self, messages: Sequence[Message]) -> list[Outcome]:
        """Send messages over at most so many connections; returns one outcome each, in their order."""
        shares = [share for n in range(self._connections) if (share := messages[n :: self._connections])]
        loop = asyncio.get_running_loop()
        answered = await asyncio.gather(
            *(loop.run_in_executor(self._threads, self._send_share, share) for share in shares)
        )
        outcomes = [Outcome(Verdict.DOWN)] * len(messages)
        for n, answers in enumerate(answered):
            outcomes[n :: self._connections] = answers
        return outcomes

    async def close(self) -> None:
        """Take no more messages. What is under way ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    # These run in a thread.

    def _send_share(self, messages: Sequence[Message]) -> list[Outcome]:
        try:
            dialogue = Dialogue(self._connect(), self._from.addr_spec)
        except (smtplib.SMTPException, OSError, SecretUnusable) as error:
            return [Outcome(Verdict.DOWN, code_of_error(error))] * len(messages)
        outcomes = [Outcome(Verdict.DOWN, "SMTP INTERRUPTED")] * len(messages)
        letters: list[Written] = []
        for number, message in enumerate(messages):
            try:
                letters.append(Written(number, message.recipient, mime.write(message, sender=self._sender)))
            except ValueError:
                outcomes[number] = Outcome(Verdict.REFUSED, "MESSAGE UNWRITABLE")
        try:
            for number, outcome in dialogue.deliver(letters):
                outcomes[number] = outcome
        finally:
            dialogue.leave()
        return outcomes

    def _connect(self) -> smtplib.SMTP:
        settings = self._settings
        # Our own name is given: smtplib would ask the name service for one.
        ours = self._from.domain
        if settings.security is Security.TLS:
            connection: smtplib.SMTP = smtplib.SMTP_SSL(
                settings.host,
                settings.port,
                local_hostname=ours,
                timeout=TIMEOUT_SECONDS,
                context=ssl.create_default_context(),
            )
        else:
            connection = smtplib.SMTP(settings.host, settings.port, local_hostname=ours, timeout=TIMEOUT_SECONDS)
        with ExitStack() as undo:
            undo.callback(connection.close)
            if settings.security is Security.STARTTLS:
                connection.starttls(context=ssl.create_default_context())
            if settings.password is not None:
                connection.login(settings.user, settings.password.read())  # read each time, so that it rotates
            else:
                connection.ehlo_or_helo_if_needed()
            undo.pop_all()
        return connection
