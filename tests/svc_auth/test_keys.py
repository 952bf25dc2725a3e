"""Signing keys at rest: the master key, and what happens without it."""

from __future__ import annotations

import stat
from datetime import UTC, datetime

import pytest

from control.atomic_file import replace_text
from mesh.refusals import Unavailable
from svc_auth.keys import KeyRing, MasterKey, make_key
from svc_auth.sealing import MasterKeyUnusable

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def test_a_master_key_is_made_once_for_this_account_alone(tmp_path):
    """A second start finds the first one's key."""
    folder = tmp_path / "secrets"
    sealed = make_key(MasterKey.of_folder(folder), kid="k", created_at=NOW, sign_at=NOW)

    MasterKey.of_folder(folder).open("k", sealed.private_key)

    assert 0o600 == stat.S_IMODE((folder / "auth_master_key").stat().st_mode)
    assert ["auth_master_key"] == [file.name for file in folder.iterdir()]


def test_a_stored_key_opens_only_with_its_master_key_and_under_its_own_id(tmp_path):
    """A row that was moved under another id, or copied elsewhere, signs nothing."""
    master, other = MasterKey.of_folder(tmp_path / "one"), MasterKey.of_folder(tmp_path / "another")
    sealed = make_key(master, kid="k", created_at=NOW, sign_at=NOW)

    for holder, kid in ((other, "k"), (master, "another")):
        with pytest.raises(MasterKeyUnusable):
            holder.open(kid, sealed.private_key)


def test_a_short_master_key_is_refused(tmp_path):
    """A file that was cut off; what stands there is not repeated."""
    replace_text(tmp_path / "auth_master_key", "m" * 31)

    with pytest.raises(MasterKeyUnusable) as refusal:
        MasterKey.of_folder(tmp_path)
    assert "mmm" not in str(refusal.value)


def test_an_empty_ring_signs_nothing(tmp_path):
    """It says that it cannot, rather than signing with anything."""
    with pytest.raises(Unavailable):
        KeyRing(MasterKey.of_folder(tmp_path)).sign({}, at=NOW)
