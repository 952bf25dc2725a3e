"""Messages as they go over the wire, read back by the library's own parser."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes, policy

import pytest

from svc_notify.channels import mime
from svc_notify.channels.interface import Message

MESSAGE = Message(
    recipient="ada@example.com",
    subject="Your receipt",
    text="Total £27.49\n",
    html="<p>Total £27.49</p>\n",
    message_id="<1@titan.local>",
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
)
SENDER = "Titan <orders@titan.local>"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no line end",
        "Total £27.49, ☕\n",
        ".\n..\n.end\n",
        "trailing space \nand tab\t\n",
        "=20 --=_titan\n--=_titan--\n",
        "x" * 500 + "\n" + "é" * 500 + "\n",
        "https://shop.titan.local/reset-password#token=" + "a" * 300 + "\n",
    ],
)
def test_a_text_comes_out_as_it_went_in(text: str):
    """Whatever is in it, and however long its lines are."""
    written = mime.write(replace(MESSAGE, text=text, html=f"<p>{text}</p>"), sender=SENDER)
    read = message_from_bytes(written, policy=policy.default)

    bodies = (read.get_body((kind,)).get_content() for kind in ("plain", "html"))
    assert [text, f"<p>{text}</p>"] == [body.replace("\r\n", "\n") for body in bodies]
    assert written.isascii() and max(map(len, written.split(b"\r\n"))) <= 78
    assert b"\n" not in written.replace(b"\r\n", b"") and b"\r" not in written.replace(b"\r\n", b"")


@pytest.mark.parametrize(
    "subject",
    ["Your receipt", "Your receipt: £27.49", "word " * 60 + "end", "☕" * 60, "=?x?=", "Caf\u00e9\u00a0Titan", ""],
)
def test_a_subject_comes_out_as_it_went_in(subject: str):
    """Encoded and folded where it has to be."""
    written = mime.write(replace(MESSAGE, subject=subject), sender=SENDER)
    read = message_from_bytes(written, policy=policy.default)

    assert subject == read["Subject"]
    assert max(map(len, written.split(b"\r\n"))) <= 78
    expected = (SENDER, "ada@example.com", "<1@titan.local>", "auto-generated", MESSAGE.created_at)
    names = ("From", "To", "Message-ID", "Auto-Submitted")
    assert expected == (*(read[name] for name in names), read["Date"].datetime)


@pytest.mark.parametrize(
    "changed",
    [
        {"recipient": "ada@exämple.com"},
        {"recipient": "ada@example.com\r\nBcc: eve@example.com"},
        {"recipient": "ada@example.com, eve@example.com"},
        {"recipient": "Ada <ada@example.com>"},
        {"recipient": "ada"},
        {"subject": "a\r\nBcc: eve@example.com"},
        {"subject": "a\u2028b"},
    ],
)
def test_what_does_not_fit_into_a_header_is_refused(changed: dict[str, str]):
    """Nothing that a shopper wrote adds a header or a recipient."""
    with pytest.raises(ValueError, match=r"address|subject"):
        mime.write(replace(MESSAGE, **changed), sender=SENDER)
