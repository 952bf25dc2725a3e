"""E-mail over real SMTP: the embedded mailbox, and a server that says what a test wants."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_string, policy

import pytest

from svc_notify.channels.email import CONNECTIONS, EmailChannel, SmtpSettings
from svc_notify.channels.interface import Message, Outcome, Verdict
from tests.svc_notify.conftest import Desk, letters, link_requested, received

MESSAGE = Message(
    recipient="ada@example.com",
    subject="Your receipt: £27.49",
    text="Total £27.49\n",
    html="<p>Total £27.49</p>\n",
    message_id="<1@titan.local>",
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
)


@contextlib.asynccontextmanager
async def server(
    *,
    rcpt: bytes = b"250 ok",
    data: bytes = b"250 ok",
    mail: bytes = b"250 ok",
    hello: bytes = b"250 me",
    late: int = 0,
    sender: str = "Titan <orders@titan.local>",
):
    """An SMTP server with fixed answers; an empty one closes the connection. Yields a channel to it, and its mail.

    So many texts of each connection are answered `late`: when the next command was heard.
    """
    took: list[str] = []

    async def text_from(reader):
        lines: list[bytes] = []
        while (line := await reader.readline()) not in (b".\r\n", b""):
            lines.append(line[1:] if line.startswith(b".") else line)
        return b"".join(lines).decode()

    async def talk(reader, writer):
        writer.write(b"220 here\r\n")
        due, texts = b"", 0
        while line := await reader.readline():
            writer.write(due)
            due = b""
            verb = line.split(b" ")[0].strip().upper()
            answer = {b"EHLO": hello, b"HELO": hello, b"MAIL": mail, b"RCPT": rcpt, b"DATA": b"354 go"}.get(
                verb, b"250 ok"
            )
            if verb == b"DATA":
                writer.write(answer + b"\r\n")
                took.append(await text_from(reader))
                answer = data
                texts += 1
                if texts <= late:
                    due = answer + b"\r\n"
                    continue
            if verb == b"QUIT" or not answer:
                break
            writer.write(answer + b"\r\n")
        writer.close()

    listening = await asyncio.start_server(talk, "127.0.0.1", 0)
    channel = EmailChannel(SmtpSettings("127.0.0.1", listening.sockets[0].getsockname()[1], sender))
    try:
        yield channel, took
    finally:
        await channel.close()
        listening.close()


async def test_a_receipt_reaches_the_mailbox(db, orders, links, users, clock, gate, email_channel, mailbox):
    """One event, one letter: text and HTML of the same order, with the fixed Message-ID."""
    desk = Desk(db, orders, links, users, email_channel, clock, gate)
    event = received("OrderConfirmed", desk.order())
    await desk.happens(event)
    await desk.happens(event)
    await desk.worker.send_due()
    (row,) = await desk.rows()
    (letter,) = letters(mailbox)
    assert (row["message_id"], "ada@example.com", "SENT") == (letter["Message-ID"], letter["To"], row["status"])
    assert "a***@example.com" == row["recipient"]
    text, page = (letter.get_body((kind,)).get_content() for kind in ("plain", "html"))
    assert all("£27.49" in body and "1 Mill Lane" in body for body in (text, page))
    assert "Mug & saucer" in text and "Mug &amp; saucer" in page and "Ada &lt;b&gt;" in page


async def test_a_one_time_link_reaches_the_mailbox(db, orders, links, users, clock, gate, email_channel, mailbox):
    """Whole, in text and in HTML: a link that is broken over two lines opens nothing."""
    desk = Desk(db, orders, links, users, email_channel, clock, gate)
    await desk.happens(link_requested(desk.link()))
    await desk.worker.send_due()
    (letter,) = letters(mailbox)
    assert "ada@example.com" == letter["To"]
    for kind in ("plain", "html"):
        body = letter.get_body((kind,)).get_content()
        assert "https://shop.titan.local/reset-password#token=s3cret-token" in body


async def test_a_mailbox_that_was_down_gets_everything_when_it_is_up(
    db, orders, links, users, clock, gate, email_channel, mailbox
):
    """No try is counted meanwhile, and each letter arrives once."""
    desk = Desk(db, orders, links, users, email_channel, clock, gate)
    mailbox.stop()
    running = asyncio.create_task(desk.worker.run())
    try:
        for _ in range(3):
            await desk.happens(received("OrderConfirmed", desk.order()))
        await asyncio.sleep(0.2)
        assert {("PENDING", 0)} == {(row["status"], row["attempts"]) for row in await desk.rows()}
        mailbox.start()
        async with asyncio.timeout(5):
            while {"SENT"} != {row["status"] for row in await desk.rows()}:
                await asyncio.sleep(0.02)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    rows = await desk.rows()
    assert {1} == {row["attempts"] for row in rows}
    assert sorted(row["message_id"] for row in rows) == sorted(letter["Message-ID"] for letter in letters(mailbox))


async def test_many_messages_share_few_connections(email_channel, mailbox):
    """One outcome each, in order."""
    messages = [replace(MESSAGE, message_id=f"<{n}@titan.local>") for n in range(7)]
    assert [Outcome(Verdict.TAKEN)] * 7 == await email_channel.send(messages)
    assert {m.message_id for m in messages} == {letter["Message-ID"] for letter in letters(mailbox)}


PIPELINING = b"250-me\r\n250 PIPELINING"


@pytest.mark.parametrize("hello", [b"250 me", PIPELINING])
@pytest.mark.parametrize(
    ("answers", "outcome"),
    [
        ({"rcpt": b"550 5.1.1 no such user ada@example.com"}, Outcome(Verdict.REFUSED, "SMTP 550 5.1.1")),
        ({"rcpt": b"450 4.2.0 greylisted"}, Outcome(Verdict.LATER, "SMTP 450 4.2.0")),
        ({"rcpt": b"421 closing"}, Outcome(Verdict.DOWN, "SMTP 421")),
        ({"data": b"554 5.7.1 looks like spam"}, Outcome(Verdict.REFUSED, "SMTP 554 5.7.1")),
        ({"data": b"452 full"}, Outcome(Verdict.LATER, "SMTP 452")),
        ({"data": b""}, Outcome(Verdict.LATER, "SMTP SMTPServerDisconnected")),
        ({"mail": b"553 5.7.1 not you"}, Outcome(Verdict.DOWN, "SMTP 553 5.7.1")),
        ({"hello": b"550 go away"}, Outcome(Verdict.DOWN, "SMTP 550")),
    ],
)
async def test_the_answer_of_the_server_decides(answers, outcome, hello):
    """For good, for now, or down; the server's words, which quote the address, are left out."""
    async with server(**{"hello": hello} | answers) as (channel, _):
        assert [outcome] == await channel.send([MESSAGE])


@pytest.mark.parametrize("hello", [b"250 me", PIPELINING])
async def test_a_refused_recipient_does_not_spoil_the_connection(hello):
    """The next message goes over the same one; nobody gets the text, not even where the server asks for it."""
    async with server(rcpt=b"550 no", hello=hello) as (channel, took):
        assert [Verdict.REFUSED] * 4 == [o.verdict for o in await channel.send([MESSAGE] * 4)]
    assert not any(took)


@pytest.mark.parametrize("hello", [b"250 me", PIPELINING])
async def test_a_line_that_begins_with_a_dot_ends_nothing(hello):
    """A dot is doubled on the way (RFC 5321, 4.5.2)."""
    message = replace(MESSAGE, text=".\n..hidden\n")
    async with server(hello=hello) as (channel, took):
        assert [Verdict.TAKEN] * 6 == [o.verdict for o in await channel.send([message] * 6)]
    texts = [message_from_string(each, policy=policy.default).get_body(("plain",)) for each in took]
    assert [[".", "..hidden"]] * 6 == [text.get_content().splitlines() for text in texts]


async def test_a_server_that_allows_it_hears_the_next_envelope_with_a_text():
    """It need not answer in between."""
    each = 3
    async with asyncio.timeout(5), server(hello=PIPELINING, late=each - 1) as (channel, _):
        verdicts = [o.verdict for o in await channel.send([MESSAGE] * (each * CONNECTIONS))]
    assert [Verdict.TAKEN] * (each * CONNECTIONS) == verdicts


@pytest.mark.parametrize("hello", [b"250 me", PIPELINING])
async def test_after_a_broken_connection_the_rest_is_not_tried(hello):
    """Only the message within which it broke counts a try."""
    async with server(data=b"", hello=hello) as (channel, _):
        verdicts = [o.verdict for o in await channel.send([MESSAGE] * 6)]
    assert [Verdict.LATER] * 2 + [Verdict.DOWN] * 4 == verdicts


@pytest.mark.parametrize(
    "message",
    [replace(MESSAGE, recipient="ada@exämple.com\r\nBcc: eve"), replace(MESSAGE, subject="a\r\nBcc: eve@example.com")],
)
async def test_what_does_not_fit_into_a_header_is_refused(message):
    """A line break in an address or a subject cannot add a header."""
    async with server() as (channel, took):
        assert [Outcome(Verdict.REFUSED, "MESSAGE UNWRITABLE")] == await channel.send([message])
        assert [] == took


async def test_a_shop_may_have_any_name():
    """In the header it is encoded; to the mail server only its address is said."""
    async with server(sender="Café Ωmega <orders@titan.local>") as (channel, took):
        assert [Outcome(Verdict.TAKEN)] == await channel.send([MESSAGE])
    read = message_from_string(took[0], policy=policy.default)
    assert "Café Ωmega <orders@titan.local>" == read["From"]


@pytest.mark.parametrize(
    ("address", "masked"), [("ada@example.com", "a***@example.com"), ("x", "***@x"), ('"a@b"@c.d', '"***@c.d')]
)
def test_addresses_are_masked(address, masked):
    """The first letter and the domain."""
    assert masked == EmailChannel(SmtpSettings("h", 25)).mask(address)
