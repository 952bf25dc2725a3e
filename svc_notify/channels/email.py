"""E-mail by SMTP: a few connections, each in a thread, each carrying a share of the messages (RFC 5321, RFC 5322)."""

from __future__ import annotations

import asyncio
import enum
import re
import smtplib
import ssl
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from email.headerregistry import Address
from email.utils import formataddr, parseaddr

from mesh.telemetry import get_logger
from svc_notify.channels import mime
from svc_notify.channels.interface import ChannelKind, Message, Outcome, Verdict

log = get_logger("svc_notify.email")

CONNECTIONS = 2
TIMEOUT_SECONDS = 10.0
"""For each answer of the server."""
SHARE_SECONDS = 30.0
"""After this a share begins no further message, so that a slow server does not outlast the lease on the rows."""

_ENHANCED = re.compile(r"[245]\.\d{1,3}\.\d{1,3}\b")
_CLOSING = 421


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
    password: str = field(default="", repr=False)


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
            connection = self._connect()
        except (smtplib.SMTPException, OSError) as error:
            return [Outcome(Verdict.DOWN, _code_of(error))] * len(messages)
        outcomes: list[Outcome] = []
        began = time.monotonic()
        try:
            for message in messages:
                if time.monotonic() - began > SHARE_SECONDS:
                    break
                outcomes.append(self._send_one(connection, message))
                if connection.sock is None:
                    break
        finally:
            _leave(connection)
        return [*outcomes, *[Outcome(Verdict.DOWN, "SMTP INTERRUPTED")] * (len(messages) - len(outcomes))]

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
            if settings.user:
                connection.login(settings.user, settings.password)
            else:
                connection.ehlo_or_helo_if_needed()
            undo.pop_all()
        return connection

    def _send_one(self, connection: smtplib.SMTP, message: Message) -> Outcome:
        try:
            written = mime.write(message, sender=self._sender)
        except ValueError:
            return Outcome(Verdict.REFUSED, "MESSAGE UNWRITABLE")
        try:
            connection.sendmail(self._from.addr_spec, [message.recipient], written)
        except smtplib.SMTPRecipientsRefused as error:
            code, words = next(iter(error.recipients.values()))
            return _judge(code, words)
        except smtplib.SMTPDataError as error:
            return _judge(error.smtp_code, error.smtp_error)
        except smtplib.SMTPResponseException as error:
            # It refuses us, whoever we write to: the sender, or the greeting.
            connection.close()
            log.error("the mail server refuses us", problem=_code_of(error))
            return Outcome(Verdict.DOWN, _code_of(error))
        except (smtplib.SMTPException, OSError) as error:
            # The connection broke within this message, so the message may be at fault: it counts as a try of it, or a
            # message that no server survives would be the first of every round.
            connection.close()
            return Outcome(Verdict.LATER, _code_of(error))
        return Outcome(Verdict.TAKEN)


def _judge(code: int, words: bytes | str) -> Outcome:
    problem = _code(code, words)
    if code == _CLOSING:
        return Outcome(Verdict.DOWN, problem)
    return Outcome(Verdict.REFUSED if 500 <= code < 600 else Verdict.LATER, problem)


def _code_of(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        return _code(error.smtp_code, error.smtp_error)
    return f"SMTP {type(error).__name__}"


def _code(code: int, words: bytes | str) -> str:
    text = words.decode(errors="replace") if isinstance(words, bytes) else words
    enhanced = _ENHANCED.match(text)
    return f"SMTP {code} {enhanced[0]}" if enhanced else f"SMTP {code}"


def _leave(connection: smtplib.SMTP) -> None:
    try:
        if connection.sock is not None:
            connection.quit()
    except (smtplib.SMTPException, OSError):
        connection.close()
