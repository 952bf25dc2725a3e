"""What is said to a mail server over one connection (RFC 5321): letter after letter, in as few exchanges as it allows.

A server that offers PIPELINING (RFC 2920) hears the text of one letter and the envelope of the next in one breath, and
answers all of it at once. That is one exchange for a letter instead of four, and each exchange wakes two processes.
"""

from __future__ import annotations

import re
import smtplib
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from mesh.telemetry import get_logger
from svc_notify.channels.interface import Outcome, Verdict

log = get_logger("svc_notify.email")

SHARE_SECONDS = 30.0
"""After this no further letter begins, so that a slow server does not outlast the lease on the rows."""

_ENHANCED = re.compile(r"[245]\.\d{1,3}\.\d{1,3}\b")
_LEADING_DOT = re.compile(rb"^\.", re.MULTILINE)
_TAKEN, _GO_ON, _REFUSED, _CLOSING = 250, 354, 400, 421

Reply = tuple[int, bytes]


@dataclass(frozen=True, slots=True)
class Written:
    """A letter as it goes over the wire, its lines ended by CRLF; `number` is how its sender knows it."""

    number: int
    recipient: str
    text: bytes


class Dialogue:
    """A connection that was greeted. The sender is an address, which the server hears with each letter."""

    def __init__(self, connection: smtplib.SMTP, sender: str) -> None:
        self._connection = connection
        self._sender = sender
        self._is_pipelined = connection.has_extn("pipelining")

    def deliver(self, letters: Iterable[Written]) -> Iterator[tuple[int, Outcome]]:
        """Send letters; yields the number of each that was tried, and what became of it.

        It ends early when the connection ends, or the time does.
        """
        began = time.monotonic()
        ahead: Written | None = None
        """The server waits for the text of this one."""
        for letter in letters:
            if time.monotonic() - began > SHARE_SECONDS:
                break
            replies = self._ask([*_text_of(ahead), *self._envelope_of(letter)])
            if ahead is not None:
                yield ahead.number, self._hear_of_text(replies)
                ahead = None
            if self._is_over:
                return
            refused = self._hear_of_envelope(replies)
            if refused is None:
                ahead = letter
            else:
                yield letter.number, refused
            if self._is_over:
                return
        if ahead is not None:
            yield ahead.number, self._hear_of_text(self._ask(_text_of(ahead)))

    def leave(self) -> None:
        """Say good-bye, if there is still somebody to say it to."""
        try:
            if not self._is_over:
                self._connection.quit()
        except (smtplib.SMTPException, OSError):
            self._connection.close()

    @property
    def _is_over(self) -> bool:
        return self._connection.sock is None

    def _envelope_of(self, letter: Written) -> list[bytes]:
        size = f" size={len(letter.text)}" if self._connection.has_extn("size") else ""
        lines = (f"MAIL FROM:<{self._sender}>{size}", f"RCPT TO:<{letter.recipient}>", "DATA")
        return [f"{line}\r\n".encode("ascii") for line in lines]

    def _ask(self, commands: Sequence[bytes]) -> Iterator[Reply]:
        """Say commands, all at once where the server allows it; each reply is read when it is asked for."""
        if self._is_pipelined:
            self._connection.send(b"".join(commands))
        for command in commands:
            if not self._is_pipelined:
                self._connection.send(command)
            yield self._connection.getreply()

    def _hear_of_text(self, replies: Iterator[Reply]) -> Outcome:
        try:
            code, words = next(replies)
        except (smtplib.SMTPException, OSError) as error:
            return self._broken(error)
        return Outcome(Verdict.TAKEN) if code == _TAKEN else self._judge(code, words)

    def _hear_of_envelope(self, replies: Iterator[Reply]) -> Outcome | None:
        """Return what becomes of a letter whose envelope is refused; None where its text may follow."""
        heard: list[Reply] = []
        try:
            for reply in replies:
                heard.append(reply)
                if reply[0] == _CLOSING or (reply[0] >= _REFUSED and not self._is_pipelined):
                    break
            place, (code, words) = next(
                ((place, reply) for place, reply in enumerate(heard) if reply[0] >= _REFUSED), (0, heard[-1])
            )
            if code == _GO_ON:
                return None
            if place == 0:
                # It refuses us, whoever we write to.
                self._connection.close()
                problem = code_of(code, words)
                log.error("the mail server refuses us", problem=problem)
                return Outcome(Verdict.DOWN, problem)
            if heard[-1][0] == _GO_ON:
                list(self._ask([b".\r\n"]))  # it waits for a text although nobody is to have it (RFC 2920, 3.1)
            outcome = self._judge(code, words)
            if not self._is_over:
                self._connection.rset()
            return outcome
        except (smtplib.SMTPException, OSError) as error:
            return self._broken(error)

    def _judge(self, code: int, words: bytes) -> Outcome:
        problem = code_of(code, words)
        if code == _CLOSING:
            self._connection.close()
            return Outcome(Verdict.DOWN, problem)
        return Outcome(Verdict.REFUSED if 500 <= code < 600 else Verdict.LATER, problem)

    def _broken(self, error: Exception) -> Outcome:
        # It broke within this letter, so the letter may be at fault: it counts as a try of it, or a letter that no
        # server survives would be the first of every round.
        self._connection.close()
        return Outcome(Verdict.LATER, code_of_error(error))


def code_of_error(error: Exception) -> str:
    """Return a code for what went wrong, never the server's words, which quote addresses."""
    if isinstance(error, smtplib.SMTPResponseException):
        return code_of(error.smtp_code, error.smtp_error)
    return f"SMTP {type(error).__name__}"


def code_of(code: int, words: bytes | str) -> str:
    """Return the code of a reply, with the enhanced one (RFC 3463) where it has one."""
    text = words.decode(errors="replace") if isinstance(words, bytes) else words
    enhanced = _ENHANCED.match(text)
    return f"SMTP {code} {enhanced[0]}" if enhanced else f"SMTP {code}"


def _text_of(letter: Written | None) -> list[bytes]:
    """Return a text as it is said: a line that begins with a dot gets another one, and a lone dot ends it."""
    if letter is None:
        return []
    end = b".\r\n" if letter.text.endswith(b"\r\n") else b"\r\n.\r\n"
    return [_LEADING_DOT.sub(b"..", letter.text) + end]
