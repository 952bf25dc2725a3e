"""UserService behind the real chain, on a real Postgres."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

import grpc
import pytest

from control.atomic_file import replace_text
from svc_auth.auth import store as session_store
from svc_auth.auth.store import OpenChallenge
from svc_auth.user import notice_store
from svc_auth.user.notices import MAX_NOTICES, NOTICE_SECONDS
from tests.harness import as_service, reason_of
from tests.svc_auth.conftest import BREACHED, PASSWORD, Replica, bearer, new_email, nobody, refused
from titan.auth.v1 import auth_service_pb2
from titan.auth.v1 import user_service_pb2 as pb
from titan.type.v1 import address_pb2

NEW_PASSWORD = "three words in a row"
NOTIFY = as_service("svc_notify")
HOME = address_pb2.Address(
    full_name="Ada Lovelace", line1="12 St James's Square", city="London", postal_code="SW1Y 4JH", country_code="GB"
)


async def test_a_user_registers(titan: Replica):
    """The address is stored in lower case; the event names nobody."""
    email = new_email()
    request = pb.CreateUserRequest(email=email.upper(), password=PASSWORD, display_name="Ada")

    user = (await titan.user.CreateUser(request)).user

    assert (email, "Ada", False, "1") == (user.email, user.display_name, user.guest, user.etag)
    assert [("UserCreated", 1)] == await titan.events_of(user.user_id)
    async with titan.db.hot_read() as connection:
        payloads = await connection.fetch("SELECT payload FROM outbox")
    assert not any(b"example.com" in row["payload"] or b"Ada" in row["payload"] for row in payloads)


async def test_an_address_belongs_to_one_user_in_any_letter_case(titan: Replica):
    """Also when both register at the same moment."""
    email = new_email()
    request = pb.CreateUserRequest(email=email, password=PASSWORD)
    answers = await asyncio.gather(*(titan.user.CreateUser(request) for _ in range(3)), return_exceptions=True)
    late = await refused(titan.register(email.upper()))

    refusals = [answer for answer in answers if isinstance(answer, grpc.aio.AioRpcError)]
    assert ["EMAIL_TAKEN"] * 3 == [reason_of(refusal) for refusal in (*refusals, late)]
    assert grpc.StatusCode.ALREADY_EXISTS is late.code()


async def test_a_guest_registers_and_stays_the_same_user(titan: Replica):
    """The session goes on; the next pair says that the user is no guest any more."""
    guest = await titan.guest()

    email, user_id = await titan.register(metadata=bearer(guest))

    assert guest.user_id == user_id == (await titan.sign_in(email)).user_id
    assert [("UserCreated", 1), ("UserRegistered", 2)] == await titan.events_of(user_id)
    me = await titan.user.GetMe(pb.GetMeRequest(), metadata=bearer(guest))
    assert (email, False) == (me.user.email, me.user.guest)
    caller = titan.caller((await titan.refresh(guest.refresh_token)).access_token)
    assert (False, {"customer"}) == (caller.is_guest, caller.roles)


async def test_nobody_registers_twice(titan: Replica):
    """Neither with another address nor with two at once."""
    guest = await titan.guest()
    answers = await asyncio.gather(*(titan.register(metadata=bearer(guest)) for _ in range(3)), return_exceptions=True)
    late = await refused(titan.register(metadata=bearer(guest)))

    refusals = [answer for answer in answers if isinstance(answer, grpc.aio.AioRpcError)]
    assert ["ALREADY_REGISTERED"] * 3 == [reason_of(refusal) for refusal in (*refusals, late)]
    assert grpc.StatusCode.FAILED_PRECONDITION is late.code()


async def test_a_guest_cannot_take_the_address_of_somebody_else(titan: Replica):
    """The guest stays a guest."""
    email, _ = await titan.register()
    guest = await titan.guest()

    assert "EMAIL_TAKEN" == reason_of(await refused(titan.register(email, metadata=bearer(guest))))
    assert (await titan.user.GetMe(pb.GetMeRequest(), metadata=bearer(guest))).user.guest


@pytest.mark.parametrize(
    ("email", "password", "reason"),
    [
        ("ada@example.com", "iloveyou", "PASSWORD_TOO_WEAK"),
        ("ada.lovelace@example.com", "Ada.Lovelace@example.com", "PASSWORD_TOO_WEAK"),
        ("ada@example.com", BREACHED.title(), "PASSWORD_TOO_WEAK"),
        ("ada@example.com", "Grace-Hopper-9", "PASSWORD_TOO_WEAK"),
        ("ada@example.com", "short", "PASSWORD_TOO_WEAK"),
        ("ada@example.com", "", "INVALID_INPUT"),
        ("ada@example.com", "x" * 257, "INVALID_INPUT"),
        ("no address", PASSWORD, "INVALID_INPUT"),
        ("", PASSWORD, "INVALID_INPUT"),
    ],
)
async def test_bad_credentials_are_refused(titan: Replica, email, password, reason):
    """Each with its own reason, and nothing is stored."""
    request = pb.CreateUserRequest(email=email, password=password, display_name="Grace Hopper")
    error = await refused(titan.user.CreateUser(request))

    assert (reason, grpc.StatusCode.INVALID_ARGUMENT) == (reason_of(error), error.code())


async def test_a_password_is_checked_as_it_was_sent(titan: Replica):
    """Nothing is cut off, folded or composed: each character counts, however long the password is."""
    email, password = new_email(), f"Passe\u0301 par \ufb01ve {'x' * 200} y"
    await titan.user.CreateUser(pb.CreateUserRequest(email=email, password=password))

    for other in (
        password.replace("e\u0301", "\u00e9"),
        password.replace("\ufb01", "fi"),
        password.swapcase(),
        f"{password} ",
        password[:-1],
        f"{password[:-1]}z",
    ):
        assert "CREDENTIALS_INVALID" == reason_of(await refused(titan.sign_in(email, other)))
    await titan.sign_in(email, password)


async def test_a_nul_character_is_refused_like_any_bad_input(titan: Replica):
    """Postgres cannot hold it, and a caller must not see an internal error."""
    request = pb.CreateUserRequest(email=new_email(), password=PASSWORD, display_name="A\x00da")

    assert "INVALID_INPUT" == reason_of(await refused(titan.user.CreateUser(request)))
    assert "INVALID_INPUT" == reason_of(await refused(titan.sign_in("a\x00da@example.com")))


async def test_whoever_acts_for_a_guest_sets_no_credentials(titan: Replica, importer):
    """An importer could else take the user over."""
    guest = await titan.guest()
    exchange = auth_service_pb2.ExchangeTokenRequest(subject_user_id=guest.user_id)
    acting = await titan.auth.ExchangeToken(exchange, metadata=bearer(importer))

    assert "ACCESS_DENIED" == reason_of(await refused(titan.register(metadata=bearer(acting))))


async def test_the_profile_needs_a_token_and_a_user(titan: Replica):
    """A token outlives its user for ten minutes at most."""
    metadata = bearer(nobody(titan))

    assert "UNAUTHENTICATED" == reason_of(await refused(titan.user.GetMe(pb.GetMeRequest())))
    for call in (
        titan.user.GetMe(pb.GetMeRequest(), metadata=metadata),
        titan.user.UpdateMe(pb.UpdateMeRequest(display_name="x"), metadata=metadata),
        titan.user.CreateAddress(pb.CreateAddressRequest(address=HOME), metadata=metadata),
    ):
        assert "USER_NOT_FOUND" == reason_of(await refused(call))


async def test_the_profile_changes_with_its_etag(titan: Replica):
    """A stale etag is refused; the event is counted."""
    email, user_id = await titan.register()
    me = bearer(await titan.sign_in(email))

    changed = await titan.user.UpdateMe(pb.UpdateMeRequest(display_name="Countess", etag="1"), metadata=me)
    stale = await refused(titan.user.UpdateMe(pb.UpdateMeRequest(display_name="Ada", etag="1"), metadata=me))

    assert ("Countess", "2") == (changed.user.display_name, changed.user.etag)
    assert ("USER_CHANGED", grpc.StatusCode.ABORTED) == (reason_of(stale), stale.code())
    assert ("UserUpdated", 2) == (await titan.events_of(user_id))[-1]


async def test_a_mask_with_another_field_is_refused(titan: Replica):
    """Only the profile can be changed."""
    request = pb.UpdateMeRequest(display_name="x")
    request.update_mask.paths.append("roles")

    error = await refused(titan.user.UpdateMe(request, metadata=bearer(await titan.guest())))

    assert "INVALID_INPUT" == reason_of(error)


async def test_addresses_are_kept_listed_and_removed_by_their_owner_alone(titan: Replica):
    """Somebody else's address is none of the caller's; removing twice is safe."""
    owner, stranger = bearer(await titan.guest()), bearer(await titan.guest())
    first = await titan.user.CreateAddress(pb.CreateAddressRequest(address=HOME), metadata=owner)
    second = await titan.user.CreateAddress(pb.CreateAddressRequest(address=HOME), metadata=owner)
    remove = pb.DeleteAddressRequest(address_id=first.address.address_id)

    await titan.user.DeleteAddress(remove, metadata=stranger)
    listed = await titan.user.ListAddresses(pb.ListAddressesRequest(), metadata=owner)
    await titan.user.DeleteAddress(remove, metadata=owner)
    await titan.user.DeleteAddress(remove, metadata=owner)
    left = await titan.user.ListAddresses(pb.ListAddressesRequest(), metadata=owner)

    assert [second.address.address_id, first.address.address_id] == [a.address_id for a in listed.addresses]
    assert HOME == listed.addresses[0].address
    assert [second.address] == list(left.addresses)
    assert not (await titan.user.ListAddresses(pb.ListAddressesRequest(), metadata=stranger)).addresses


async def test_a_user_keeps_fifty_addresses(titan: Replica):
    """The bound holds also for addresses that are saved at once."""
    guest = bearer(await titan.guest())
    save = pb.CreateAddressRequest(address=HOME)
    for _ in range(48):
        await titan.user.CreateAddress(save, metadata=guest)

    answers = await asyncio.gather(
        *(titan.user.CreateAddress(save, metadata=guest) for _ in range(4)), return_exceptions=True
    )

    refusals = [answer for answer in answers if isinstance(answer, grpc.aio.AioRpcError)]
    assert ["TOO_MANY_ADDRESSES"] * 2 == [reason_of(refusal) for refusal in refusals]
    assert grpc.StatusCode.FAILED_PRECONDITION is refusals[0].code()


async def test_an_incomplete_address_is_refused(titan: Replica):
    """The contract names the fields."""
    request = pb.CreateAddressRequest(address=address_pb2.Address(full_name="Ada"))

    assert "INVALID_INPUT" == reason_of(
        await refused(titan.user.CreateAddress(request, metadata=bearer(await titan.guest())))
    )


async def test_customers_of_another_system_are_imported_once(titan: Replica, importer):
    """Again, twice in one request, or from two processes: the same customer is the same user."""
    prefix = new_email()
    customers = [pb.ImportedUser(external_id=f"{prefix}/{n % 40}", display_name=f"Customer {n}") for n in range(50)]
    request = pb.BatchImportUsersRequest(users=customers)

    answers = await asyncio.gather(*(titan.user.BatchImportUsers(request, metadata=bearer(importer)) for _ in range(3)))
    again = await titan.user.BatchImportUsers(request, metadata=bearer(importer))

    assert [result.external_id for result in again.results] == [user.external_id for user in customers]
    assert 40 == len({result.user_id for result in again.results})
    assert all(answer == again for answer in answers)
    assert [("UserCreated", 1)] == await titan.events_of(again.results[0].user_id)
    exchange = auth_service_pb2.ExchangeTokenRequest(subject_user_id=again.results[0].user_id)
    acting = await titan.auth.ExchangeToken(exchange, metadata=bearer(importer))
    assert UUID(again.results[0].user_id) == titan.caller(acting.access_token).user_id


async def test_only_importers_import(titan: Replica):
    """A guest may not make users for others."""
    request = pb.BatchImportUsersRequest(users=[pb.ImportedUser(external_id="1")])

    error = await refused(titan.user.BatchImportUsers(request, metadata=bearer(await titan.guest())))

    assert "ACCESS_DENIED" == reason_of(error)


async def test_whoever_acts_for_a_customer_imports_nobody(titan: Replica, importer):
    """The customers would belong to that customer, and be made a second time under the importer's own name."""
    guest = await titan.guest()
    exchange = auth_service_pb2.ExchangeTokenRequest(subject_user_id=guest.user_id)
    acting = await titan.auth.ExchangeToken(exchange, metadata=bearer(importer))
    request = pb.BatchImportUsersRequest(users=[pb.ImportedUser(external_id="1")])

    error = await refused(titan.user.BatchImportUsers(request, metadata=bearer(acting)))

    assert "ACCESS_DENIED" == reason_of(error)


async def test_nobody_registers_with_an_address_of_the_house(titan: Replica):
    """Where its secret is not there yet, the account is not either, and a stranger's would be given its role later."""
    await titan.moved("importer@titan.local", "kept@titan.local")
    try:
        error = await refused(titan.register("Importer@titan.local"))
    finally:
        await titan.moved("kept@titan.local", "importer@titan.local")

    assert "EMAIL_TAKEN" == reason_of(error)


WAYS_IN = {
    "identities": "gen_random_uuid(), $1, 'local', 'https://local.example', 'mallory', now(), NULL, NULL",
    "passkeys": "gen_random_uuid(), $1, 'mallory', 'her key', 0, false, '', now(), NULL, NULL",
}
"""What somebody adds who knows the password for a while."""
FACTOR = "INSERT INTO second_factors (user_id, secret, created_at, confirmed_at) VALUES ($1, 'hers', now(), now())"


async def test_the_accounts_of_the_house_follow_their_secret_files(titan: Replica, auth_secrets):
    """Starting again changes nothing; a new secret takes effect."""
    admin = await titan.sign_in("admin@titan.local", "an administrator's long secret")
    assert {"customer", "admin"} == titan.caller(admin.access_token).roles

    async with titan.db.hot() as tx:
        for table, values in WAYS_IN.items():
            await tx.execute(f"INSERT INTO {table} SELECT {values}", UUID(admin.user_id))
        await tx.execute(FACTOR, UUID(admin.user_id))
    assert not (await titan.sign_in("admin@titan.local", "an administrator's long secret")).access_token

    replace_text(auth_secrets / "admin_password", "another long secret")
    await titan.house()
    again = await titan.sign_in("admin@titan.local", "another long secret")

    assert admin.user_id == again.user_id
    # Whoever was signed in with the old secret is signed out, and what they added opens nothing.
    async with titan.db.hot_read() as connection:
        for table in WAYS_IN:
            assert 0 == await connection.fetchval(
                f"SELECT count(*) FROM {table} WHERE user_id = $1", UUID(admin.user_id)
            )
    assert "REFRESH_TOKEN_INVALID" == reason_of(await refused(titan.refresh(admin.refresh_token)))
    await titan.refresh(again.refresh_token)
    replace_text(auth_secrets / "admin_password", "an administrator's long secret")
    await titan.house()
    await titan.sign_in("admin@titan.local", "an administrator's long secret")


async def test_the_house_has_no_account_that_nobody_asked_for(titan: Replica, auth_secrets):
    """Nobody signs in to it, and it has no role; one that was there is closed. Asked for, it is there again."""
    importer = await titan.sign_in("importer@titan.local", "an importer's long secret")
    await titan.house(frozenset({"admin"}))
    assert "REFRESH_TOKEN_INVALID" == reason_of(await refused(titan.refresh(importer.refresh_token)))
    closed = await refused(titan.sign_in("importer@titan.local", "an importer's long secret"))
    assert "CREDENTIALS_INVALID" == reason_of(closed)
    async with titan.db.hot_read() as connection:
        query = "SELECT roles FROM users WHERE user_id = $1"
        assert [] == await connection.fetchval(query, UUID(importer.user_id))
    assert "EMAIL_TAKEN" == reason_of(await refused(titan.register("importer@titan.local")))
    assert (await titan.sign_in("admin@titan.local", "an administrator's long secret")).access_token

    await titan.house()
    again = await titan.sign_in("importer@titan.local", "an importer's long secret")
    assert (importer.user_id, {"customer", "importer"}) == (again.user_id, titan.caller(again.access_token).roles)


async def test_a_user_changes_their_password_and_is_signed_out_elsewhere(titan: Replica):
    """This session goes on; whatever else the old password opened ends, half-open sign-ins too."""
    email, user_id = await titan.register()
    await titan.verified(user_id)
    here, there = await titan.sign_in(email), await titan.sign_in(email)
    await refused(titan.sign_in(email, "a slip of the finger"))
    half_open = OpenChallenge(b"c" * 32, UUID(user_id), None, ("pwd",))
    async with titan.db.hot() as tx:
        await session_store.insert_challenge(tx, half_open, expires_at=titan.clock.now() + timedelta(minutes=5))

    await titan.change_password(here, PASSWORD)

    async with titan.db.hot() as tx:
        assert await session_store.lock_challenge(tx, half_open.challenge_hash, at=titan.clock.now()) is None
    await titan.feed.look()
    assert "SESSION_REVOKED" == reason_of(await refused(titan.change_password(there, NEW_PASSWORD)))
    assert "REFRESH_TOKEN_INVALID" == reason_of(await refused(titan.refresh(there.refresh_token)))
    assert user_id == (await titan.refresh(here.refresh_token)).user_id
    assert "CREDENTIALS_INVALID" == reason_of(await refused(titan.sign_in(email)))
    assert user_id == (await titan.sign_in(email, NEW_PASSWORD)).user_id
    assert [("PASSWORD_CHANGED", "")] == await titan.notices_of(user_id)


async def test_nobody_writes_to_an_account_of_the_house(titan: Replica, auth_secrets):
    """Its address is a name, and no mail for it arrives anywhere."""
    secret = (auth_secrets / "admin_password").read_text().strip()
    admin = await titan.sign_in("admin@titan.local", secret)

    await titan.change_password(admin, secret, NEW_PASSWORD)

    assert [] == await titan.notices_of(admin.user_id)
    await titan.change_password(admin, NEW_PASSWORD, secret)


async def test_nobody_writes_to_an_address_that_was_never_verified(titan: Replica):
    """Whoever registered it may have it from a telephone book."""
    email, user_id = await titan.register()

    await titan.change_password(await titan.sign_in(email))

    assert [] == await titan.notices_of(user_id)


async def test_no_more_than_five_changes_are_told_within_half_an_hour(titan: Replica):
    """The first ones: whoever changes what is not theirs is found out. An hour later there is a letter again."""
    email, user_id = await titan.register()
    await titan.verified(user_id)
    pair, held = await titan.sign_in(email), PASSWORD
    for number in range(MAX_NOTICES + 1):
        await titan.change_password(pair, held, held := f"three words in a row, {number}")
    assert [("PASSWORD_CHANGED", "")] * MAX_NOTICES == await titan.notices_of(user_id)
    async with titan.db.hot() as tx:
        query = "UPDATE sign_in_notices SET told_at = told_at - interval '1 hour' WHERE user_id = $1"
        await tx.execute(query, UUID(user_id))

    await titan.change_password(pair, held, PASSWORD)

    assert MAX_NOTICES + 1 == len(await titan.notices_of(user_id))


async def test_notices_that_count_no_more_are_forgotten(titan: Replica):
    """And no others: they are what the limit is counted by."""
    email, user_id = await titan.register()
    await titan.verified(user_id)
    await titan.change_password(await titan.sign_in(email))

    async def left(older_than_seconds: float) -> int:
        async with titan.db.hot() as tx:
            await notice_store.prune(tx, older_than_seconds=older_than_seconds, limit=1000)
            return await tx.fetchval("SELECT count(*) FROM sign_in_notices WHERE user_id = $1", UUID(user_id))

    assert (1, 0) == (await left(NOTICE_SECONDS), await left(-1))


async def test_a_notice_says_nothing_about_the_person(titan: Replica):
    """Neither address nor name, nor what the passkey or the client is called."""
    email, user_id = await titan.register()
    await titan.verified(user_id)
    await titan.change_password(await titan.sign_in(email, client_name="Ada's telephone"))

    async with titan.db.hot_read() as connection:
        rows = await connection.fetch("SELECT o::text FROM outbox o WHERE type LIKE '%.SignInChanged'")
    assert user_id in await told_by_letter(titan, user_id)
    for word in (email, "Ada", "telephone"):
        assert not [row for row in rows if word in row["o"] or word.encode().hex() in row["o"]]


async def told_by_letter(titan: Replica, user_id: str) -> set[str]:
    """Return those of the users that a letter writer finds an address for."""
    answer = await titan.user.BatchGetContacts(pb.BatchGetContactsRequest(user_ids=[user_id]), metadata=NOTIFY)
    return {each.user_id for each in answer.contacts if each.email}


async def test_only_the_letter_writer_reads_addresses(titan: Replica):
    """In the order of the request; a guest, and somebody unknown, have none."""
    (email, user_id), guest = await titan.register(), await titan.guest()
    request = pb.BatchGetContactsRequest(user_ids=[guest.user_id, user_id, str(uuid4()), user_id.upper()])

    answer = await titan.user.BatchGetContacts(request, metadata=NOTIFY)

    assert list(request.user_ids) == [each.user_id for each in answer.contacts]
    assert ["", email, "", email] == [each.email for each in answer.contacts]
    for metadata in (None, bearer(await titan.sign_in(email))):
        error = await refused(titan.user.BatchGetContacts(request, metadata=metadata))
        assert error.code() in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)


async def test_changing_a_password_asks_for_the_present_one(titan: Replica):
    """A stolen access token is not enough, and guessing is slowed down as at sign-in."""
    email, _ = await titan.register()
    pair = await titan.sign_in(email)
    for _ in range(10):
        error = await refused(titan.change_password(pair, "guess", "short of nothing"))
        assert "CREDENTIALS_INVALID" == reason_of(error)

    assert "SIGN_IN_THROTTLED" == reason_of(await refused(titan.change_password(pair, PASSWORD)))
    assert "SIGN_IN_THROTTLED" == reason_of(await refused(titan.sign_in(email)))


async def test_of_two_changes_at_once_one_wins(titan: Replica, monkeypatch):
    """Both knew the present password, and one of them knows it no more."""
    email, _ = await titan.register()
    pair = await titan.sign_in(email)
    hash_anew, both = titan.passwords.hash, asyncio.Barrier(2)

    async def hash_together(password: str) -> str:
        await both.wait()
        return await hash_anew(password)

    monkeypatch.setattr(titan.passwords, "hash", hash_together)
    changes = (titan.change_password(pair, PASSWORD, f"three words in row {n}") for n in range(2))
    results = await asyncio.gather(*changes, return_exceptions=True)

    (error,) = [each for each in results if isinstance(each, grpc.aio.AioRpcError)]
    assert "CREDENTIALS_INVALID" == reason_of(error)


async def test_a_weak_password_is_not_changed_to(titan: Replica):
    """What is too weak to register with is too weak here."""
    email, _ = await titan.register()
    pair = await titan.sign_in(email)

    for weak in ("password123", BREACHED, email, "Lovelace", "short"):
        assert "PASSWORD_TOO_WEAK" == reason_of(await refused(titan.change_password(pair, PASSWORD, weak)))
    await titan.sign_in(email)


async def test_only_a_user_with_a_password_changes_it(titan: Replica, importer):
    """A guest has none, whoever acts for somebody has no say, and a token outlives its user for ten minutes."""
    guest = await titan.guest()
    exchange = auth_service_pb2.ExchangeTokenRequest(subject_user_id=guest.user_id)
    acting = await titan.auth.ExchangeToken(exchange, metadata=bearer(importer))

    assert "NOT_REGISTERED" == reason_of(await refused(titan.change_password(guest, PASSWORD)))
    assert "ACCESS_DENIED" == reason_of(await refused(titan.change_password(acting, PASSWORD)))
    assert "USER_NOT_FOUND" == reason_of(await refused(titan.change_password(nobody(titan), PASSWORD)))
