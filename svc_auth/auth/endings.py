"""What ends when a password is replaced, or at a word: whatever was opened or is being opened, and the other ways in.

Call these with the user locked. Whoever adds a way in or a second factor locks the user too, and looks then at their
own session or at the password that they showed: what began before a password was replaced, or its user erased, is not
finished after it.
"""

from __future__ import annotations

from uuid import UUID

import asyncpg

from svc_auth.auth import store
from svc_auth.factor import store as factor_store
from svc_auth.federation import store as federation_store
from svc_auth.passkey import store as passkey_store


async def end_sessions(tx: asyncpg.Connection, user_id: UUID, *, reason: str, but_for: UUID | None = None) -> bool:
    """End every session of a locked user, or every other one, and all that is half done: sign-ins, links, passkeys.

    Returns whether there was anything to end.
    """
    begun = await federation_store.remove_flows(tx, user_id)
    begun += await passkey_store.remove_challenges(tx, user_id)
    begun += await factor_store.remove_enrolled(tx, user_id)
    # Challenges before sessions: one that is being answered is a session by the time that it can be removed.
    begun += await store.remove_challenges(tx, user_id)
    return begun + await store.save_all_revoked(tx, user_id, reason=reason, but_for=but_for) > 0


async def end_ways_in(tx: asyncpg.Connection, user_id: UUID, *, reason: str) -> None:
    """End every way in of a locked user but a password and a second factor: who knew the old password may have added
    the others."""
    await federation_store.remove_identities(tx, user_id)
    await passkey_store.remove_passkeys(tx, user_id)
    await end_sessions(tx, user_id, reason=reason)
