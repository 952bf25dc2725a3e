"""What the environment says to svc_notify alone, read once; the rest is in `mesh.settings`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parseaddr
from pathlib import Path

from mesh.settings import SettingProblem, secret_file, shop_url
from svc_notify.channels.email import Security, SmtpSettings


@dataclass(frozen=True)
class Settings:
    """Who writes to shoppers, through which mail server, and where the pages are that links in letters open."""

    smtp: SmtpSettings
    shop_name: str
    shop_url: str
    message_id_domain: str


def read(secrets_dir: Path, environment: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of this process.

    Raises:
        SettingProblem: A value has the wrong form, or the password file cannot be used.
    """
    env = os.environ if environment is None else environment
    host, port = _address(env.get("TITAN_SMTP") or f"127.0.0.1:{int(env.get('TITAN_PORT_BASE') or 18440) + 9}")
    sender = env.get("TITAN_MAIL_FROM") or "Titan <orders@titan.local>"
    address = parseaddr(sender)[1]
    _, at, domain = address.partition("@")
    if not at or not domain or not address.isascii():
        raise SettingProblem(f"TITAN_MAIL_FROM: not an address: {sender!r}")
    security = env.get("TITAN_SMTP_SECURITY") or Security.NONE.value
    if security not in {each.value for each in Security}:
        raise SettingProblem(f"TITAN_SMTP_SECURITY: {security!r} is not one of none, starttls, tls")
    user = env.get("TITAN_SMTP_USER", "")
    if user and security == Security.NONE.value:
        raise SettingProblem("TITAN_SMTP_USER: a password is not sent without TITAN_SMTP_SECURITY")
    return Settings(
        smtp=SmtpSettings(
            host=host,
            port=port,
            sender=sender,
            security=Security(security),
            user=user,
            password=secret_file(env, "TITAN_SMTP_PASSWORD_FILE", secrets_dir / "smtp_password") if user else None,
        ),
        shop_name=env.get("TITAN_SHOP_NAME") or "Titan",
        shop_url=shop_url(env),
        message_id_domain=domain,
    )


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise SettingProblem(f"TITAN_SMTP: not host:port: {text!r}")
    return host.strip("[]"), int(port)
