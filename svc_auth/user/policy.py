"""Which passwords this shop takes: the rules, with what they are compared with."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

from svc_auth.user import rules


@dataclass(frozen=True)
class PasswordPolicy:
    """Asked wherever a password is chosen."""

    breached: Container[str]
    shop_name: str

    def check(self, password: str, *, email: str, display_name: str) -> None:
        """Let a password pass.

        Raises:
            PasswordTooWeak: Whoever attacks this user would try it early.
        """
        rules.check_password(password, email=email, names=(display_name, self.shop_name), breached=self.breached)
