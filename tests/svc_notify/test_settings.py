"""The settings of the package."""

from __future__ import annotations

from pathlib import Path

import pytest

from control.atomic_file import replace_text
from mesh.settings import SettingProblem
from svc_notify import settings

NOWHERE = Path("/nowhere")


def test_the_mailbox_is_found_from_the_environment():
    """The port follows the base of the mesh where none is named."""
    assert ("mail.example", 2525) == (
        (smtp := settings.read(NOWHERE, {"TITAN_SMTP": "mail.example:2525"}).smtp).host,
        smtp.port,
    )
    assert 19009 == settings.read(NOWHERE, {"TITAN_PORT_BASE": "19000"}).smtp.port
    assert "shop.example" == settings.read(NOWHERE, {"TITAN_MAIL_FROM": "Shop <a@shop.example>"}).message_id_domain


@pytest.mark.parametrize(
    "environment",
    [
        {"TITAN_SMTP": "no-port"},
        {"TITAN_SMTP": "host:99999"},
        {"TITAN_MAIL_FROM": "nobody"},
        {"TITAN_SMTP_SECURITY": "perhaps"},
        {"TITAN_SHOP_URL": "http://shop.example"},
        {"TITAN_SHOP_URL": "https://"},
        {"TITAN_SHOP_URL": "https://shop.example/?next=1"},
        {"TITAN_SHOP_URL": "https://eve@shop.example"},
        {"TITAN_SMTP_USER": "me"},
        {"TITAN_SMTP_USER": "me", "TITAN_SMTP_SECURITY": "tls", "TITAN_SMTP_PASSWORD_FILE": "/nowhere"},
    ],
)
def test_settings_that_cannot_be_used_stop_the_start(environment):
    """With a message that names the variable; a password never goes over a plain connection."""
    with pytest.raises(SettingProblem, match=r"^TITAN_"):
        settings.read(NOWHERE, environment)


def test_a_password_is_not_shown(tmp_path):
    """Settings may be printed by accident, so they have the file. It is read for each connection, and so rotates."""
    environment = {"TITAN_SMTP_USER": "me", "TITAN_SMTP_SECURITY": "tls"}
    replace_text(tmp_path / "smtp_password", "hunter2\n")
    read = settings.read(tmp_path, environment)
    elsewhere = settings.read(NOWHERE, {**environment, "TITAN_SMTP_PASSWORD_FILE": str(tmp_path / "smtp_password")})

    assert "hunter2" not in repr(read) and elsewhere == read
    assert "hunter2" == read.smtp.password.read()
    replace_text(tmp_path / "smtp_password", "hunter3\n")
    assert "hunter3" == read.smtp.password.read()


def test_links_in_letters_open_pages_of_the_storefront():
    """The slash at the end is not doubled."""
    assert "https://shop.titan.local" == settings.read(NOWHERE, {}).shop_url
    assert "https://shop.example/en" == settings.read(NOWHERE, {"TITAN_SHOP_URL": "https://shop.example/en/"}).shop_url
