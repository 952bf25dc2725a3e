"""What the environment says to svc_auth."""

from __future__ import annotations

import pytest

from mesh.settings import SettingProblem
from svc_auth import settings


@pytest.mark.parametrize(
    ("environment", "roles"),
    [
        ({}, {"importer"}),
        ({"TITAN_AUTH_PASSWORD_ROLES": ""}, set()),
        ({"TITAN_AUTH_PASSWORD_ROLES": "admin importer"}, {"admin", "importer"}),
    ],
)
def test_a_program_alone_needs_no_second_factor_unless_somebody_says_otherwise(environment, roles):
    """No person's role is in it where nothing is said."""
    assert roles == settings.read(environment).password_roles


def test_the_house_has_no_accounts_unless_somebody_asks_for_them():
    """No name that everybody knows is there by itself."""
    assert set() == settings.read({}).house_accounts == settings.read({"TITAN_AUTH_HOUSE_ACCOUNTS": ""}).house_accounts
    assert {"admin"} == settings.read({"TITAN_AUTH_HOUSE_ACCOUNTS": "admin"}).house_accounts
    with pytest.raises(SettingProblem, match="TITAN_AUTH_HOUSE_ACCOUNTS: no such roles: finance"):
        settings.read({"TITAN_AUTH_HOUSE_ACCOUNTS": "admin finance"})


def test_a_role_that_there_is_not_is_no_exception():
    """A misspelt one would leave whoever has it outside, with nobody knowing why."""
    with pytest.raises(SettingProblem, match="TITAN_AUTH_PASSWORD_ROLES: no such roles: adminn"):
        settings.read({"TITAN_AUTH_PASSWORD_ROLES": "adminn importer"})
