"""Writes a message as it goes over the wire (RFC 5322, RFC 2045): in ASCII, so that no server has to know more.

The library's own message object takes 3 ms of CPU for a receipt, more than all else that an order costs its services.
Our letters need one shape of it: five headers, and the same text as plain text and as HTML.
"""

from __future__ import annotations

import re
from binascii import b2a_qp
from email.header import Header
from email.utils import format_datetime

from svc_notify.channels.interface import Message

_BOUNDARY = "=_titan"
"""Two characters that quoted-printable never writes next to each other, so no text can end its part (RFC 2045, 6.7)."""
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,253}")
"""What the contract takes for an address; none of it has a meaning in a header."""
_UNLINEAR = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_PLAIN_COLUMNS = 60
"""A subject up to this long in plain ASCII is written as it is; any other is encoded and folded."""


def write(message: Message, *, sender: str) -> bytes:
    """Return a message with its headers, as UTF-8 in quoted-printable, its lines ended by CRLF.

    Raises:
        ValueError: Its address or its subject does not fit into a header.
    """
    if not _ADDRESS.fullmatch(message.recipient):
        raise ValueError("this address can't be written to")
    headers = (
        f"From: {sender}",
        f"To: {message.recipient}",
        f"Subject: {_subject(message.subject)}",
        f"Date: {format_datetime(message.created_at)}",
        f"Message-ID: {message.message_id}",
        "Auto-Submitted: auto-generated",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/alternative; boundary="{_BOUNDARY}"',
    )
    parts = (_part("plain", message.text), _part("html", message.html))
    body = b"".join(b"--%b\r\n%b\r\n" % (_BOUNDARY.encode(), part) for part in parts)
    return "\r\n".join((*headers, "", "")).encode("ascii") + body + f"--{_BOUNDARY}--\r\n".encode()


def _subject(text: str) -> str:
    if _UNLINEAR.search(text):
        raise ValueError("this subject would not be one line")
    if text.isascii() and len(text) <= _PLAIN_COLUMNS:
        return text
    return Header(text, "utf-8", header_name="Subject").encode(linesep="\r\n")


def _part(kind: str, text: str) -> bytes:
    head = f"Content-Type: text/{kind}; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    encoded = b2a_qp(text.replace("\r\n", "\n").encode())
    return head.encode() + encoded.replace(b"\n", b"\r\n")
