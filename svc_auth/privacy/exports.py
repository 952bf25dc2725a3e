"""Puts together what Titan holds about a user, a page at a time: the account first, then one list after the other.

Each list is read from the package that has it, and a page of the export ends where a page of a list does once it is
large enough. The token says in which list the next one begins, and where.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from uuid import UUID

from mesh import pages
from mesh.database import Database
from mesh.identity import Caller
from mesh.refusals import PageTokenInvalid
from svc_auth.auth.rpc import to_session
from svc_auth.auth.sessions import Sessions
from svc_auth.factor import store as factor_store
from svc_auth.factor.rpc import to_wire as factor_to_wire
from svc_auth.federation import store as federation_store
from svc_auth.federation.rpc import to_identity
from svc_auth.passkey.passkeys import Passkeys
from svc_auth.passkey.rpc import to_wire as passkey_to_wire
from svc_auth.privacy.participants import Participants
from svc_auth.user import store as user_store
from svc_auth.user.profiles import Profiles
from svc_auth.user.rpc import to_saved_address, to_wire
from svc_auth.user.rules import User
from titan.auth.v1 import privacy_service_pb2 as pb

METHOD = "PrivacyService.ExportMyData"
SECTIONS = ("sign-ins", "orders", "transfers", "notifications")
"""The lists, in the order in which they are told; a token has the name of one."""
SESSIONS_PER_PAGE = 100
FULL_BYTES = pages.MAX_BYTES // 2
"""A page that has grown beyond this is answered. One more page of a list would still fit a message."""

Section = Callable[[pb.ExportMyDataResponse, Caller, str], Awaitable[str]]
"""Adds one page of a list to an answer, and returns the token of the list's next page; empty after the last."""


class Exports:
    """What the users of this shop may take with them."""

    def __init__(
        self, db: Database, packages: Participants, profiles: Profiles, sessions: Sessions, passkeys: Passkeys
    ) -> None:
        self._db = db
        self._packages = packages
        self._profiles = profiles
        self._sessions = sessions
        self._passkeys = passkeys
        self._sections: dict[str, Section] = {
            "sign-ins": self._sign_ins,
            "orders": self._orders,
            "transfers": self._transfers,
            "notifications": self._notifications,
        }

    async def page(self, caller: Caller, page_token: str) -> pb.ExportMyDataResponse:
        """Return a page of what there is about a caller.

        Raises:
            UserNotFound: They were erased.
            PageTokenInvalid: The token is not theirs, or of no export.
            Unavailable: A package is away.
        """
        user_id = caller.require_user_id()
        place, inner = _position(page_token, user_id)
        page = pb.ExportMyDataResponse()
        async with self._db.hot_read() as connection:
            user = await user_store.get_user(connection, user_id)
        if not page_token:
            await self._add_account(page, user)
            page.cart.CopyFrom(await self._packages.cart(user_id))
        while place < len(SECTIONS):
            inner = await self._sections[SECTIONS[place]](page, caller, inner)
            place += not inner
            if page.ByteSize() >= FULL_BYTES:
                break
        if place < len(SECTIONS):
            page.next_page_token = pages.encode(METHOD, [SECTIONS[place], inner], user_id)
        return page

    async def _add_account(self, page: pb.ExportMyDataResponse, user: User) -> None:
        user_id = user.user_id
        page.user.CopyFrom(to_wire(user, await self._profiles.of(user)))
        page.passkeys.extend(map(passkey_to_wire, await self._passkeys.list_of(user_id)))
        page.addresses.extend(map(to_saved_address, await self._profiles.addresses_of(user_id)))
        async with self._db.hot_read() as connection:
            factor, codes = await factor_store.find_factor(connection, user_id)
            identities = await federation_store.list_identities(connection, user_id)
        page.second_factor.CopyFrom(factor_to_wire(factor, codes))
        page.identities.extend(map(to_identity, identities))

    async def _sign_ins(self, page: pb.ExportMyDataResponse, caller: Caller, token: str) -> str:
        user_id, before = caller.require_user_id(), pages.decode_id(token, METHOD)
        found = await self._sessions.list_live(user_id, before=before, limit=SESSIONS_PER_PAGE + 1)
        shown = found[:SESSIONS_PER_PAGE]
        page.sessions.extend(to_session(each, caller) for each in shown)
        return pages.encode(METHOD, [str(shown[-1].session_id)]) if len(found) > len(shown) else ""

    async def _orders(self, page: pb.ExportMyDataResponse, caller: Caller, token: str) -> str:
        found = await self._packages.orders(caller.require_user_id(), page_token=token)
        page.orders.extend(found.orders)
        page.invoices.extend(found.invoices)
        page.credit_notes.extend(found.credit_notes)
        page.words.extend(found.words)
        return found.next_page_token

    async def _transfers(self, page: pb.ExportMyDataResponse, caller: Caller, token: str) -> str:
        found = await self._packages.statement(caller.require_user_id(), page_token=token)
        if not token:
            page.wallet.CopyFrom(found.wallet)
        page.transfers.extend(found.transfers)
        return found.next_page_token

    async def _notifications(self, page: pb.ExportMyDataResponse, caller: Caller, token: str) -> str:
        found = await self._packages.notifications(caller.require_user_id(), page_token=token)
        page.notifications.extend(found.notifications)
        return found.next_page_token


def _position(page_token: str, user_id: UUID) -> tuple[int, str]:
    """Return in which list a page begins, and with which of the list's own tokens."""
    position = pages.decode(page_token, METHOD, user_id)
    if position is None:
        return 0, ""
    match position:
        case [str(name), str(inner)] if name in SECTIONS:
            return SECTIONS.index(name), inner
    raise PageTokenInvalid("the page token is not one that this method gave")
