"""UserService on the wire: decode, call, encode."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

import asyncpg

from mesh import audit
from mesh.database import Database
from mesh.identity import Caller, caller_of
from mesh.refusals import AccessDenied, Unavailable
from mesh.seams import Clock, Ids
from svc_auth.blind_index import BlindIndex, Hashed, each_of
from svc_auth.errors import EmailTaken, TooManyAddresses
from svc_auth.inputs import in_person, plain
from svc_auth.passwords import Passwords
from svc_auth.plain.columns import Plain
from svc_auth.renewal import index_store
from svc_auth.renewal.index_store import CUSTOMER
from svc_auth.user import customer_store, rules, store
from svc_auth.user.changes import PasswordChanges
from svc_auth.user.customer_store import HashedAnew, Imported
from svc_auth.user.policy import PasswordPolicy
from svc_auth.user.profiles import Profiles, SavedAddress
from svc_auth.user.rules import ADDRESS_FIELDS, Profile, User
from titan.auth.v1 import user_pb2
from titan.auth.v1 import user_service_pb2 as pb
from titan.type.v1 import address_pb2


class UserServicer:
    """Serves titan.auth.v1.UserService."""

    def __init__(
        self,
        db: Database,
        passwords: Passwords,
        policy: PasswordPolicy,
        changes: PasswordChanges,
        profiles: Profiles,
        index: BlindIndex,
        plain: Plain,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._db = db
        self._passwords = passwords
        self._policy = policy
        self._changes = changes
        self._profiles = profiles
        self._index = index
        self._plain = plain
        self._clock = clock
        self._ids = ids

    async def CreateUser(self, request: pb.CreateUserRequest, context: Any) -> pb.CreateUserResponse:
        """Refuses with EMAIL_TAKEN, PASSWORD_TOO_WEAK or ALREADY_REGISTERED."""
        caller = in_person(caller_of(context))
        name = plain("display_name", request.display_name)
        self._policy.check(request.password, email=request.email, display_name=name)
        profile = Profile(rules.normalise_email(request.email), name)
        await self._refuse_early(caller, request.email)
        # The hash takes long, so it is made before the transaction; the constraint has the last word on the address.
        password_hash = await self._passwords.hash(request.password)
        guest_id = caller.user_id
        user, profile = await self._index.settled(
            lambda: (
                self._create(profile, password_hash)
                if guest_id is None
                else self._register(guest_id, profile, password_hash)
            )
        )
        return pb.CreateUserResponse(user=to_wire(user, profile))

    async def GetMe(self, request: pb.GetMeRequest, context: Any) -> pb.GetMeResponse:
        """Refuses with USER_NOT_FOUND."""
        async with self._db.hot_read() as connection:
            user = await store.get_user(connection, caller_of(context).require_user_id())
        return pb.GetMeResponse(user=to_wire(user, await self._profiles.of(user)))

    async def UpdateMe(self, request: pb.UpdateMeRequest, context: Any) -> pb.UpdateMeResponse:
        """Refuses with USER_NOT_FOUND or USER_CHANGED."""
        user_id = caller_of(context).require_user_id()
        name = plain("display_name", request.display_name)
        await self._profiles.prepare(user_id)
        async with self._db.hot() as tx:
            user = await store.lock_user(tx, user_id)
            changed, profile = rules.update(
                user,
                self._profiles.opened(user),
                display_name=name,
                paths=request.update_mask.paths,
                etag=request.etag,
            )
            if changed is not user:
                changed = self._profiles.sealed(changed, profile)
                await store.save_profile(tx, changed, at=self._clock.now())
                await audit.accept(tx, store.resource(user_id))
        return pb.UpdateMeResponse(user=to_wire(changed, profile))

    async def ChangePassword(self, request: pb.ChangePasswordRequest, context: Any) -> pb.ChangePasswordResponse:
        """Refuses as a sign-in does, and with NOT_REGISTERED, PASSWORD_TOO_WEAK, USER_NOT_FOUND or ACCESS_DENIED."""
        caller = in_person(caller_of(context))
        await self._changes.change(caller.require_user_id(), caller.session_id, request.password, request.new_password)
        return pb.ChangePasswordResponse()

    async def ListAddresses(self, request: pb.ListAddressesRequest, context: Any) -> pb.ListAddressesResponse:
        """Has no refusals of its own."""
        found = await self._profiles.addresses_of(caller_of(context).require_user_id())
        return pb.ListAddressesResponse(addresses=[to_saved_address(address) for address in found])

    async def CreateAddress(self, request: pb.CreateAddressRequest, context: Any) -> pb.CreateAddressResponse:
        """Refuses with TOO_MANY_ADDRESSES, or USER_NOT_FOUND where the user is gone."""
        user_id = caller_of(context).require_user_id()
        fields = {name: plain(f"address.{name}", getattr(request.address, name)) for name in ADDRESS_FIELDS}
        address = SavedAddress(self._ids.new(), fields, self._clock.now())
        await self._profiles.prepare(user_id)
        async with self._db.hot() as tx:
            await store.lock_user(tx, user_id)
            if await store.count_addresses(tx, user_id) >= rules.MAX_ADDRESSES:
                raise TooManyAddresses(f"a user keeps at most {rules.MAX_ADDRESSES} addresses")
            await store.save_address(tx, user_id, self._profiles.sealed_address(user_id, address))
            await audit.accept(tx, _address_resource(user_id, address.address_id))
        return pb.CreateAddressResponse(address=to_saved_address(address))

    async def DeleteAddress(self, request: pb.DeleteAddressRequest, context: Any) -> pb.DeleteAddressResponse:
        """Has no refusals of its own; somebody else's address is none of the caller's."""
        user_id, address_id = caller_of(context).require_user_id(), UUID(request.address_id)
        async with self._db.hot() as tx:
            if await store.remove_address(tx, user_id, address_id):
                await audit.accept(tx, _address_resource(user_id, address_id))
        return pb.DeleteAddressResponse()

    async def BatchImportUsers(self, request: pb.BatchImportUsersRequest, context: Any) -> pb.BatchImportUsersResponse:
        """Refuses with ACCESS_DENIED whoever acts for somebody: the customers would count as that somebody's import."""
        caller = caller_of(context)
        importer_id = caller.require_user_id()
        if caller.actor_id is not None:
            raise AccessDenied("customers are imported in one's own name")
        customers = {
            plain(f"users[{place}].external_id", user.external_id): plain(
                f"users[{place}].display_name", user.display_name
            )
            for place, user in reversed(list(enumerate(request.users)))  # of two with one id the first counts
        }
        found = await self._index.settled(lambda: self._import(importer_id, customers))
        return pb.BatchImportUsersResponse(
            results=[
                pb.ImportedUserResult(external_id=user.external_id, user_id=str(found[user.external_id]))
                for user in request.users
            ]
        )

    async def BatchGetContacts(self, request: pb.BatchGetContactsRequest, context: Any) -> pb.BatchGetContactsResponse:
        """Has no refusals of its own."""
        async with self._db.hot_read() as connection:
            users = await store.list_registered(connection, [UUID(user_id) for user_id in request.user_ids])
        emails = await self._profiles.emails_of(users)
        return pb.BatchGetContactsResponse(
            contacts=[
                user_pb2.Contact(user_id=user_id, email=emails.get(UUID(user_id), "")) for user_id in request.user_ids
            ]
        )

    async def _refuse_early(self, caller: Caller, email: str) -> None:
        """Refuse what is bound to be refused before the costly hash is made."""
        async with self._db.hot_read() as connection:
            hashed = self._index.email(email)
            if caller.user_id is not None:
                rules.register(await store.get_user(connection, caller.user_id), email_index=hashed.newest)
            house = rules.normalise_email(email) in rules.HOUSE_ACCOUNTS
            if house or await store.find_by_email(connection, hashed) is not None:
                raise EmailTaken("another user has this e-mail address")

    async def _create(self, profile: Profile, password_hash: str) -> tuple[User, Profile]:
        assert profile.email is not None
        email, plain_email = self._index.email(profile.email), self._plain.kept(profile.email)
        user = User(self._ids.new(), email.newest, None, (), 1, self._clock.now())
        await self._profiles.prepare(user.user_id)
        user = self._profiles.sealed(user, profile)
        async with self._db.hot() as tx:
            await self._index.hold(tx, email)
            await store.insert_registered(tx, user, password_hash, email=email, plain_email=plain_email)
            await audit.accept(tx, store.resource(user.user_id), audit.command(actor_id=user.user_id))
        return user, profile

    async def _register(self, guest_id: UUID, profile: Profile, password_hash: str) -> tuple[User, Profile]:
        assert profile.email is not None
        email, plain_email, at = self._index.email(profile.email), self._plain.kept(profile.email), self._clock.now()
        await self._profiles.prepare(guest_id)
        async with self._db.hot() as tx:
            await self._index.hold(tx, email)
            guest = await store.lock_user(tx, guest_id)
            # A guest may have a name, and keeps it unless they give another one.
            profile = replace(profile, display_name=profile.display_name or self._profiles.opened(guest).display_name)
            user = self._profiles.sealed(rules.register(guest, email_index=email.newest), profile)
            await store.save_registered(tx, user, password_hash, at=at, email=email, plain_email=plain_email)
            await audit.accept(tx, store.resource(guest_id))
        return user, profile

    async def _import(self, importer_id: UUID, customers: Mapping[str, str]) -> dict[str, UUID]:
        """Return the users of customers, whose names are told by external id; those that have none yet are made."""
        hashed = {external_id: self._index.customer(importer_id, external_id) for external_id in customers}
        async with self._db.hot_read() as connection:
            found = _found(hashed, await customer_store.find_imported(connection, each_of(hashed.values())))
        # Whoever is found by a key that goes is hashed anew here too, where their id is known: an older release kept
        # nothing else to hash, and what is kept of a user whose own key is damaged does not open.
        old = {external_id: found[external_id][0] for external_id in found if found[external_id][1]}
        new = {external_id: self._ids.new() for external_id in customers if external_id not in found}
        any_hashed = next(iter(hashed.values()))
        if new or any_hashed.before is not None:
            await self._profiles.prepare(*new.values(), *old.values())
            wanted = [self._imported(hashed[each], new[each], each, customers[each]) for each in new]
            again = [
                HashedAnew(hashed[each], user_id, self._profiles.sealed_external_id(user_id, each))
                for each, user_id in old.items()
            ]
            by, at = audit.command(), self._clock.now()

            async def save(tx: asyncpg.Connection) -> dict[bytes, UUID]:
                await self._index.hold(tx, any_hashed)
                if any_hashed.before is not None:
                    await customer_store.save_hashed_anew(tx, again)
                    await index_store.save_known(tx, CUSTOMER, [user_id for user_id, _ in found.values()])
                return await customer_store.import_users(tx, importer_id, wanted, at=at, by=by) if wanted else {}

            found |= _found(hashed, await self._db.transact(save))
        if len(found) < len(customers):
            raise Unavailable("a process of the release before makes some of them", retry_after_seconds=1)
        return {external_id: found[external_id][0] for external_id in customers}

    def _imported(self, hashed: Hashed, user_id: UUID, external_id: str, display_name: str) -> Imported:
        """Return a customer whose user's key is prepared, as they are stored."""
        profile = self._profiles.sealed(
            User(user_id, None, None, (), 1, self._clock.now()), Profile(None, display_name)
        )
        sealed_id = self._profiles.sealed_external_id(user_id, external_id)
        return Imported(hashed, user_id, profile.sealed, sealed_id, self._plain.kept(external_id))


def _found(hashed: Mapping[str, Hashed], users: Mapping[bytes, UUID]) -> dict[str, tuple[UUID, bool]]:
    """Return the users of those of the customers who have one, and whether a key that goes found them."""
    return {
        external_id: (users[one], one == each.before)
        for external_id, each in hashed.items()
        for one in each.each
        if one in users
    }


def _address_resource(user_id: UUID, address_id: UUID) -> str:
    return f"{store.resource(user_id)}/addresses/{address_id}"


def to_wire(user: User, profile: Profile) -> user_pb2.User:
    """Return a user as it travels."""
    return user_pb2.User(
        user_id=str(user.user_id),
        email=profile.email or "",
        display_name=profile.display_name,
        guest=user.guest,
        roles=sorted(user.roles),
        create_time=user.created_at,
        etag=user.etag,
        email_verified=user.email_verified_at is not None,
    )


def to_saved_address(address: SavedAddress) -> user_pb2.SavedAddress:
    """Return a saved address as it travels."""
    return user_pb2.SavedAddress(
        address_id=str(address.address_id),
        address=address_pb2.Address(**dict(address.fields)),
        create_time=address.created_at,
    )
