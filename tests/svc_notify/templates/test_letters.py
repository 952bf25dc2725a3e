"""What letters say, and how they are printed."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from svc_notify.notification.rules import NOTICE_TEMPLATES
from svc_notify.templates import html, plain
from svc_notify.templates.facts import Amount, Line, Link, Notice, Order
from svc_notify.templates.letters import LETTERS, LINK_LETTERS, NOTICE_LETTERS


def gbp(minor: int) -> Amount:
    return Amount(minor, "GBP")


ORDER = Order(
    order_id="0198-order",
    placed_at=datetime(2010, 12, 1, 8, 26, tzinfo=UTC),
    lines=(
        Line("Mug & <saucer>", "mug", 2, gbp(1000), gbp(2000)),
        Line("A very long title that goes on and on until it does not fit", "tea", 1, gbp(749), gbp(749)),
    ),
    shipping=gbp(0),
    tax=gbp(458),
    total=gbp(2749),
    recipient_name="Ada\r\nBcc: eve@example.com",
    address=("Ada Byron", "1 Mill Lane", "Leeds"),
)


def letter(template: str, **details: str):
    return LETTERS[template](ORDER, details, "Titan")


@pytest.mark.parametrize(
    ("minor", "currency", "text"),
    [
        (0, "GBP", "£0.00"),
        (5, "GBP", "£0.05"),
        (123456789, "GBP", "£1,234,567.89"),
        (-250, "EUR", "-€2.50"),
        (1500, "JPY", "JPY 1,500"),
        (1234567, "KWD", "KWD 1,234.567"),
        (100, "CHF", "CHF 1.00"),
    ],
)
def test_amounts_are_written_as_people_read_them(minor, currency, text):
    """Whole minor units in, never a float between."""
    assert text == str(Amount(minor, currency))


def test_a_receipt_has_lines_totals_tax_and_address():
    """In plain text, nothing wider than 72 columns."""
    text = plain.render(letter("order_confirmed"))
    for part in ("0198-order", "1 December 2010, 08:26 UTC", "mug", "2 x", "£20.00", "£27.49", "£4.58", "1 Mill Lane"):
        assert part in text
    assert 72 >= max(len(line) for line in text.splitlines())


def test_html_says_the_same_and_escapes_everything():
    """Titles and names are written by strangers."""
    page = html.render(letter("order_confirmed"))
    assert "Mug &amp; &lt;saucer&gt;" in page and "<saucer>" not in page
    assert "£27.49" in page and "1 Mill Lane" in page and "<script" not in page and "http" not in page


def test_what_a_stranger_wrote_stays_within_its_line():
    """A line break in a name cannot begin something that looks like ours."""
    assert "Dear Ada Bcc: eve@example.com," in plain.render(letter("order_confirmed"))


def test_a_shipped_letter_has_the_tracking_code_where_there_is_one():
    """A parcel without a code is told of without one."""
    assert "TRK-7" in plain.render(letter("order_shipped", tracking_code="TRK-7"))
    assert "Tracking" not in plain.render(letter("order_shipped", tracking_code=""))


def test_a_cancelled_letter_tells_who_cancelled():
    """And what becomes of the money, whether it was taken or held: the letter is written before that is known."""
    assert "You asked us" in plain.render(letter("order_cancelled", reason="CUSTOMER"))
    other = plain.render(letter("order_cancelled", reason="OUT_OF_STOCK"))
    assert "We are sorry" in other
    flat = " ".join(other.split())
    assert "If the £27.49 was taken already, it goes back the way you paid and we write again" in flat
    assert "if it was only held, the hold ends" in flat


def test_a_refund_letter_tells_how_much_of_what():
    """The amount is the refund's, the total the order's."""
    part = plain.render(letter("order_refunded", amount_minor="500", currency="GBP", full="false"))
    assert "£5.00 of the £27.49" in part
    rest = plain.render(letter("order_refunded", amount_minor="2249", currency="GBP", full="true"))
    assert "£22.49: all that was left of what you paid" in rest
    whole = plain.render(letter("order_refunded", amount_minor="2749", currency="GBP", full="true"))
    assert "£27.49: all that you paid" in whole


@pytest.mark.parametrize("template", sorted(LETTERS))
def test_subjects_are_one_line_without_personal_data(template):
    """Subjects are written to logs of mail servers."""
    subject = letter(template, amount_minor="1", currency="GBP", full="true").subject
    assert "\n" not in subject and "Ada" not in subject and subject.isprintable()


LINK = Link(token="a-token_1", expires_at=datetime(2010, 12, 1, 8, 56, tzinfo=UTC))


@pytest.mark.parametrize(
    ("template", "page"), [("email_verification", "verify-email"), ("password_reset", "reset-password")]
)
def test_a_letter_with_a_link_has_it_whole_and_says_how_long_it_counts(template, page):
    """The token stands behind the number sign, where no server reads it, and on one line."""
    written = LINK_LETTERS[template](LINK, "Titan", "https://shop.example")
    link = f"https://shop.example/{page}#token=a-token_1"
    text, shown = plain.render(written), html.render(written)
    assert link in text.splitlines()
    assert f'<a href="{link}"' in shown and 1 == shown.count("<a ")
    for body in (text, shown):
        assert "until 08:56 UTC" in " ".join(body.split())
    assert "token" not in written.subject and written.subject.isprintable()
    assert "a-token_1" not in repr(written)


NOTICE = Notice(happened_at=datetime(2010, 12, 1, 8, 26, tzinfo=UTC), provider="Google")


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("password_changed", "Your password for Titan was changed"),
        ("passkey_added", "A passkey was added to your account at Titan"),
        ("identity_linked", "Google was linked to your account at Titan"),
    ],
)
def test_a_letter_about_an_account_says_what_when_and_what_to_do(template, says):
    """It has no link: whoever imitates it wants one to be followed."""
    written = NOTICE_LETTERS[template](NOTICE, "Titan")
    text, shown = plain.render(written), html.render(written)
    assert says == written.subject and set(NOTICE_LETTERS) == set(NOTICE_TEMPLATES.values())
    for body in (text, shown):
        assert "1 December 2010, 08:26 UTC" in " ".join(body.split())
        assert "ask for a new password" in " ".join(body.split())
    assert "<a " not in shown and "http" not in text
