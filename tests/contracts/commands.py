"""For every method that somebody outside can change something with: a call that is accepted, in the world of packages.

`test_audit.py` makes each of them and looks for what it left. A scenario prepares what the call needs and returns the
call; a new method needs one, or the build fails.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import date
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

from google.protobuf.message import Message

from mesh.contract import Method
from svc_auth.factor.rules import STEP_SECONDS, code_at
from svc_auth.federation.rules import Claims, Flow
from svc_payment.reconciliation.rules import Found
from tests.contracts.world import PRICE_MINOR, World, gbp
from tests.harness import Metadata, as_service, as_user, titan_contract
from tests.svc_auth.passkey.authenticator import Authenticator

PASSWORD = "correct horse battery staple"
ADMIN = as_user(roles=("admin",))
IMPORTER = as_user(roles=("importer",))
METHODS = {method.full_name: method for method in titan_contract().methods.values()}
ADDRESS = {"full_name": "Ada Byron", "line1": "1 Mill Lane", "city": "Leeds", "country_code": "GB"}

AUTH, LINKS = "titan.auth.v1.AuthService", "titan.auth.v1.LinkService"
FACTORS, USERS = "titan.auth.v1.SecondFactorService", "titan.auth.v1.UserService"
PRIVACY = "titan.auth.v1.PrivacyService"
CARTS, PRODUCTS = "titan.cart.v1.CartService", "titan.catalog.v1.ProductService"
FILES, OPERATIONS = "titan.bulk.v1.FileService", "titan.bulk.v1.OperationService"
CATEGORIES, STOCK = "titan.catalog.v1.CategoryService", "titan.inventory.v1.InventoryService"
WAREHOUSES, CHECKOUT = "titan.inventory.v1.WarehouseService", "titan.order.v1.CheckoutService"
ORDERS, PAYMENTS = "titan.order.v1.OrderService", "titan.payment.v1.PaymentService"
SETTLEMENTS = "titan.payment.v1.SettlementService"
WALLETS, PAYOUTS = "titan.payment.v1.WalletService", "titan.payment.v1.PayoutService"
SPLITS = "titan.payment.v1.SplitService"


@dataclass(frozen=True)
class Asked:
    """One call that will be accepted."""

    method: Method
    request: Message
    metadata: Metadata = ()
    seconds: float = 10.0

    async def send(self, world: World) -> Any:
        """Make the call."""
        call = world.channels[self.method.service].unary_unary(
            self.method.path,
            request_serializer=self.method.request_class.SerializeToString,
            response_deserializer=self.method.response_class.FromString,
        )
        return await call(self.request, metadata=self.metadata, timeout=self.seconds)


Scenario = Callable[[World], Awaitable[Asked]]
SCENARIOS: dict[str, Scenario] = {}


def accepted(service: str, name: str) -> Callable[[Scenario], Scenario]:
    """Note for which method a scenario is."""

    def note(scenario: Scenario) -> Scenario:
        SCENARIOS[f"{service}.{name}"] = scenario
        return scenario

    return note


def asked(service: str, name: str, metadata: Metadata = (), /, *, seconds: float = 10.0, **fields: Any) -> Asked:
    """Return a call."""
    method = METHODS[f"{service}.{name}"]
    return Asked(method, method.request_class(**fields), metadata, seconds)


# Users, sessions, factors, links.


async def registered(world: World) -> tuple[str, str, Metadata]:
    """Return address, id and metadata of a new user."""
    email = f"ada.{uuid4().hex[:12]}@example.com"
    made = await asked(USERS, "CreateUser", email=email, password=PASSWORD).send(world)
    return email, made.user.user_id, as_user(made.user.user_id)


async def entered(world: World) -> tuple[str, Metadata]:
    """Return address and metadata of a new user who has signed in a moment ago."""
    email, user_id, _ = await registered(world)
    await asked(AUTH, "CreateSession", email=email, password=PASSWORD).send(world)
    listed = await asked(AUTH, "ListSessions", as_user(user_id)).send(world)
    return email, as_user(user_id, session_id=listed.sessions[0].session_id)


async def guest(world: World) -> Any:
    """Return the answer to a guest."""
    return await asked(AUTH, "CreateGuestSession").send(world)


async def enrolled(world: World) -> tuple[str, Metadata, bytes]:
    """Return address and metadata of a user, and the secret of the second factor that they have begun."""
    email, user = await entered(world)
    answer = await asked(FACTORS, "EnrolSecondFactor", user, password=PASSWORD).send(world)
    return email, user, base64.b32decode(answer.secret)


async def protected(world: World) -> tuple[str, Metadata, list[str]]:
    """Return address, metadata and recovery codes of a user with a second factor."""
    email, user, secret = await enrolled(world)
    code = code_at(secret, int(time.time()) // STEP_SECONDS)
    answer = await asked(FACTORS, "ConfirmSecondFactor", user, code=code).send(world)
    return email, user, list(answer.recovery_codes)


async def link_of(world: World, user_id: str) -> str:
    """Return the token of the user's newest link, as soon as it is made."""
    async with asyncio.timeout(10):
        while True:
            async with world.databases["svc_auth"].hot_read() as connection:
                link_id = await connection.fetchval(
                    "SELECT link_id FROM links WHERE user_id = $1 ORDER BY link_id DESC LIMIT 1", UUID(user_id)
                )
            if link_id is not None:
                found = asked(LINKS, "BatchGetLinks", as_service("svc_notify"), link_ids=[str(link_id)])
                return (await found.send(world)).results[0].link.token
            await asyncio.sleep(0.02)


async def importer(world: World) -> Metadata:
    """Return what the importer of the house sends who has signed in."""
    secret = (world.secrets / "importer_password").read_text().strip()
    call = asked(AUTH, "CreateSession", email="importer@titan.local", password=secret)
    user_id = (await call.send(world)).user_id
    listed = await asked(AUTH, "ListSessions", as_user(user_id)).send(world)
    return as_user(user_id, roles=("importer",), session_id=listed.sessions[0].session_id)


@accepted(USERS, "CreateUser")
async def create_user(world: World) -> Asked:
    return asked(USERS, "CreateUser", email=f"{uuid4().hex}@example.com", password=PASSWORD)


@accepted(USERS, "UpdateMe")
async def update_me(world: World) -> Asked:
    _, _, user = await registered(world)
    return asked(USERS, "UpdateMe", user, display_name="Ada", update_mask={"paths": ["display_name"]})


@accepted(USERS, "CreateAddress")
async def create_address(world: World) -> Asked:
    _, _, user = await registered(world)
    return asked(USERS, "CreateAddress", user, address=ADDRESS)


@accepted(USERS, "DeleteAddress")
async def delete_address(world: World) -> Asked:
    _, _, user = await registered(world)
    made = await asked(USERS, "CreateAddress", user, address=ADDRESS).send(world)
    return asked(USERS, "DeleteAddress", user, address_id=made.address.address_id)


@accepted(USERS, "BatchImportUsers")
async def import_users(world: World) -> Asked:
    return asked(USERS, "BatchImportUsers", await importer(world), users=[{"external_id": uuid4().hex}])


@accepted(AUTH, "CreateSession")
async def create_session(world: World) -> Asked:
    email, _, _ = await registered(world)
    return asked(AUTH, "CreateSession", email=email, password=PASSWORD)


@accepted(AUTH, "CompleteSession")
async def complete_session(world: World) -> Asked:
    email, _, codes = await protected(world)
    answer = await asked(AUTH, "CreateSession", email=email, password=PASSWORD).send(world)
    token = answer.challenge.challenge_token
    return asked(AUTH, "CompleteSession", challenge_token=token, proof={"recovery_code": codes[0]})


@accepted(AUTH, "CreateGuestSession")
async def create_guest(world: World) -> Asked:
    return asked(AUTH, "CreateGuestSession")


@accepted(AUTH, "RefreshSession")
async def refresh_session(world: World) -> Asked:
    return asked(AUTH, "RefreshSession", refresh_token=(await guest(world)).refresh_token)


@accepted(AUTH, "RevokeSession")
async def revoke_session(world: World) -> Asked:
    return asked(AUTH, "RevokeSession", refresh_token=(await guest(world)).refresh_token)


@accepted(AUTH, "DeleteSession")
async def delete_session(world: World) -> Asked:
    email, user = await entered(world)
    await asked(AUTH, "CreateSession", email=email, password=PASSWORD).send(world)
    listed = await asked(AUTH, "ListSessions", user).send(world)
    return asked(AUTH, "DeleteSession", user, session_id=listed.sessions[0].session_id)


@accepted(AUTH, "EndOtherSessions")
async def end_other_sessions(world: World) -> Asked:
    email, user = await entered(world)
    await asked(AUTH, "CreateSession", email=email, password=PASSWORD).send(world)
    return asked(AUTH, "EndOtherSessions", user, confirm=True)


@accepted(AUTH, "EndUserSessions")
async def end_user_sessions(world: World) -> Asked:
    return asked(AUTH, "EndUserSessions", ADMIN, user_id=(await guest(world)).user_id)


@accepted(AUTH, "ExchangeToken")
async def exchange_token(world: World) -> Asked:
    return asked(AUTH, "ExchangeToken", await importer(world), subject_user_id=(await guest(world)).user_id)


@accepted(AUTH, "RotateSigningKey")
async def rotate_key(world: World) -> Asked:
    return asked(AUTH, "RotateSigningKey", ADMIN)


@accepted(LINKS, "RequestEmailVerification")
async def request_verification(world: World) -> Asked:
    return asked(LINKS, "RequestEmailVerification", (await registered(world))[2])


@accepted(LINKS, "VerifyEmail")
async def verify_email(world: World) -> Asked:
    _, user_id, user = await registered(world)
    await asked(LINKS, "RequestEmailVerification", user).send(world)
    return asked(LINKS, "VerifyEmail", token=await link_of(world, user_id))


@accepted(LINKS, "RequestPasswordReset")
async def request_reset(world: World) -> Asked:
    return asked(LINKS, "RequestPasswordReset", email=(await registered(world))[0])


@accepted(LINKS, "ResetPassword")
async def reset_password(world: World) -> Asked:
    email, user_id, _ = await registered(world)
    await asked(LINKS, "RequestPasswordReset", email=email).send(world)
    return asked(LINKS, "ResetPassword", token=await link_of(world, user_id), password=f"{PASSWORD} and more")


@accepted(FACTORS, "EnrolSecondFactor")
async def enrol(world: World) -> Asked:
    return asked(FACTORS, "EnrolSecondFactor", (await registered(world))[2], password=PASSWORD)


@accepted(FACTORS, "ConfirmSecondFactor")
async def confirm(world: World) -> Asked:
    _, user, secret = await enrolled(world)
    return asked(FACTORS, "ConfirmSecondFactor", user, code=code_at(secret, int(time.time()) // STEP_SECONDS))


@accepted(FACTORS, "DisableSecondFactor")
async def disable(world: World) -> Asked:
    _, user, codes = await protected(world)
    return asked(FACTORS, "DisableSecondFactor", user, proof={"recovery_code": codes[0]})


# Carts.


async def filled(world: World) -> tuple[str, Metadata]:
    """Return a SKU, and somebody who has two of it in the cart."""
    sku, user = await world.product(), as_user(uuid4())
    await asked(CARTS, "AddItem", user, sku=sku, quantity=2).send(world)
    return sku, user


@accepted(CARTS, "AddItem")
async def add_item(world: World) -> Asked:
    return asked(CARTS, "AddItem", as_user(uuid4()), sku=await world.product(), quantity=2)


@accepted(CARTS, "UpdateItem")
async def update_item(world: World) -> Asked:
    sku, user = await filled(world)
    return asked(CARTS, "UpdateItem", user, sku=sku, quantity=5)


@accepted(CARTS, "RemoveItem")
async def remove_item(world: World) -> Asked:
    sku, user = await filled(world)
    return asked(CARTS, "RemoveItem", user, sku=sku)


# Catalogue and stock.


def new_product() -> dict[str, Any]:
    """Return what a product is made of."""
    return {"title": "A mug", "variants": [{"sku": f"M-{uuid4().hex[:12]}", "price": gbp(PRICE_MINOR)}]}


@accepted(PRODUCTS, "CreateProduct")
async def create_product(world: World) -> Asked:
    return asked(PRODUCTS, "CreateProduct", ADMIN, product=new_product())


@accepted(PRODUCTS, "BatchCreateProducts")
async def create_products(world: World) -> Asked:
    return asked(PRODUCTS, "BatchCreateProducts", ADMIN, products=[new_product(), new_product()])


@accepted(PRODUCTS, "UpdateProduct")
async def update_product(world: World) -> Asked:
    made = await asked(PRODUCTS, "CreateProduct", ADMIN, product=new_product()).send(world)
    changed = {"product_id": made.product.product_id, "title": "A larger mug"}
    return asked(PRODUCTS, "UpdateProduct", ADMIN, product=changed, update_mask={"paths": ["title"]})


@accepted(CATEGORIES, "CreateCategory")
async def create_category(world: World) -> Asked:
    return asked(CATEGORIES, "CreateCategory", ADMIN, category={"title": uuid4().hex})


@accepted(STOCK, "AdjustStock")
async def adjust_stock(world: World) -> Asked:
    return asked(STOCK, "AdjustStock", ADMIN, sku=uuid4().hex, delta=3, reason="found", request_id=uuid4().hex)


@accepted(STOCK, "BatchAdjustStock")
async def adjust_many(world: World) -> Asked:
    adjustments = [{"sku": uuid4().hex, "delta": 3, "reason": "found"} for _ in range(2)]
    return asked(STOCK, "BatchAdjustStock", ADMIN, adjustments=adjustments, request_id=uuid4().hex)


@accepted(WAREHOUSES, "CreateWarehouse")
async def create_warehouse(world: World) -> Asked:
    warehouse = {"warehouse_id": f"w{uuid4().hex[:8]}", "title": "Leeds", "priority": 7}
    return asked(WAREHOUSES, "CreateWarehouse", ADMIN, warehouse=warehouse)


# Orders.


async def an_order(world: World) -> Asked:
    """Return the call that orders two of a product by wallet."""
    return asked(
        CHECKOUT,
        "PlaceOrder",
        as_user(await world.rich()),
        expected_total=gbp(2 * PRICE_MINOR),
        shipping_address=ADDRESS,
        contact_email="ada@example.com",
        payment={"wallet": {}},
        lines=[{"sku": await world.product(), "quantity": 2}],
        request_id=uuid4().hex,
    )


async def ordered(world: World) -> tuple[str, Metadata]:
    """Return an order that is confirmed, and its customer."""
    call = await an_order(world)
    return (await call.send(world)).order.order_id, call.metadata


async def shipped(world: World) -> tuple[str, Metadata]:
    """Return an order that has left, and its customer."""
    order_id, customer = await ordered(world)
    await asked(ORDERS, "ShipOrder", ADMIN, order_id=order_id).send(world)
    return order_id, customer


SCENARIOS[f"{CHECKOUT}.PlaceOrder"] = an_order


@accepted(ORDERS, "CancelOrder")
async def cancel_order(world: World) -> Asked:
    order_id, customer = await ordered(world)
    return asked(ORDERS, "CancelOrder", customer, order_id=order_id)


@accepted(ORDERS, "ShipOrder")
async def ship_order(world: World) -> Asked:
    return asked(ORDERS, "ShipOrder", ADMIN, order_id=(await ordered(world))[0])


@accepted(ORDERS, "DeliverOrder")
async def deliver_order(world: World) -> Asked:
    return asked(ORDERS, "DeliverOrder", ADMIN, order_id=(await shipped(world))[0])


@accepted(ORDERS, "CreateRefund")
async def create_refund(world: World) -> Asked:
    order_id, _ = await shipped(world)
    support = as_user(roles=("support",))
    about = {"order_id": order_id, "ticket_id": "SUP-4711"}
    return asked(ORDERS, "CreateRefund", support, amount=gbp(100), request_id=uuid4().hex, **about)


# Money.


async def begun(world: World) -> str:
    """Return the id of a card payment that its provider has not answered."""
    intent = {
        "order_id": str(uuid4()),
        "user_id": str(uuid4()),
        "amount": gbp(100),
        "method": {"card": {"token": "tok_visa"}},
    }
    call = asked(PAYMENTS, "BatchAuthorize", as_service("svc_order"), intents=[intent])
    return (await call.send(world)).results[0].payment_id


@accepted(PAYMENTS, "ReturnFromProvider")
async def come_back(world: World) -> Asked:
    return asked(PAYMENTS, "ReturnFromProvider", payment_id=await begun(world), seconds=1.0)


@accepted(PAYMENTS, "HandleWebhook")
async def webhook(world: World) -> Asked:
    notice = {
        "event_id": uuid4().hex,
        "type": "payment.authorized",
        "payment_id": await begun(world),
        "provider_reference": "r",
        "operation_id": "o",
        "amount_minor": 100,
        "currency": "GBP",
        "sequence": 1,
        "occurred_at": "2026-11-21T12:00:00Z",
        "decline_code": None,
    }
    body, seconds = json.dumps(notice).encode(), int(time.time())
    secret = (world.secrets / "psp_webhook_secret").read_bytes().strip()
    mark = hmac.new(secret, b"%d." % seconds + body, hashlib.sha256).hexdigest()
    signature = f"t={seconds},v1={mark}"
    payload = {"content_type": "application/json", "data": body}
    return asked(PAYMENTS, "HandleWebhook", provider="psp_sim", payload=payload, signature=signature)


@accepted(SETTLEMENTS, "SettleDay")
async def settle_day(world: World) -> Asked:
    """A day on which nothing was: its provider's log, which is away here, would be empty."""

    async def nothing(provider: Any, day: date) -> Found:
        return Found((), ())

    daily: Any = world.hosted["svc_payment"].servicers[SETTLEMENTS]
    daily._daily._compare = nothing
    return asked(SETTLEMENTS, "SettleDay", as_user(roles=("finance",)), provider="psp_sim", date="2026-01-02")


async def owed(world: World) -> str:
    """Return a seller who is owed something: an order of theirs was paid, and has arrived."""
    order_id, seller_id, order = str(uuid4()), f"seller-{uuid4().hex[:8]}", as_service("svc_order")
    intent = {
        "order_id": order_id,
        "user_id": str(await world.rich()),
        "amount": gbp(1000),
        "method": {"wallet": {}},
    }
    await asked(PAYMENTS, "BatchAuthorize", order, intents=[intent]).send(world)
    await asked(PAYMENTS, "BatchCapture", order, order_ids=[order_id]).send(world)
    sold = {"order_id": order_id, "sold": [{"seller_id": seller_id, "amount_minor": 1000}]}
    await asked(SPLITS, "BatchReleaseShares", order, orders=[sold]).send(world)
    return seller_id


async def a_payout(world: World) -> Asked:
    return asked(PAYOUTS, "CreatePayout", ADMIN, seller_id=await owed(world), currency_code="GBP", period="2026-11")


@accepted(PAYOUTS, "CreatePayout")
async def create_payout(world: World) -> Asked:
    return await a_payout(world)


@accepted(PAYOUTS, "CreatePayoutBatch")
async def create_payout_batch(world: World) -> Asked:
    await (await a_payout(world)).send(world)
    return asked(PAYOUTS, "CreatePayoutBatch", ADMIN, period="2026-11", request_id=uuid4().hex)


@accepted(PAYOUTS, "SettlePayout")
async def settle_payout(world: World) -> Asked:
    made = (await (await a_payout(world)).send(world)).payout
    return asked(PAYOUTS, "SettlePayout", ADMIN, payout_id=made.payout_id, status=4)


@accepted(WALLETS, "TopUpWallet")
async def top_up(world: World) -> Asked:
    """Accepted is what it is before its provider, who is away here, has answered."""
    user = as_user(uuid4())
    amount = gbp(100)
    return asked(
        WALLETS, "TopUpWallet", user, amount=amount, card_token="tok_visa", request_id=uuid4().hex, seconds=0.5
    )


@accepted(WALLETS, "BatchCreditWallets")
async def credit_wallets(world: World) -> Asked:
    credits = [{"user_id": str(uuid4()), "amount": gbp(100)}]
    return asked(WALLETS, "BatchCreditWallets", IMPORTER, credits=credits, request_id=uuid4().hex)


# Passkeys, identities, another password.

PASSKEYS, FEDERATION = "titan.auth.v1.PasskeyService", "titan.auth.v1.FederationService"
BACK = "https://shop.titan.local/back"


async def signed_in(world: World) -> Metadata:
    """Return what a user sends who has signed in a moment ago."""
    return (await entered(world))[1]


async def made(world: World, user: Metadata) -> tuple[Authenticator, str, str]:
    """Return a device, the shop's origin, and the passkey that the device has made, not yet told to the shop."""
    origin = world.hosted["svc_auth"].servicers[PASSKEYS]._passkeys._party.origin  # type: ignore[attr-defined]
    device = Authenticator()
    options = (await asked(PASSKEYS, "StartPasskeyRegistration", user).send(world)).options.options_json
    return device, origin, device.create(options, origin=origin)


@accepted(USERS, "ChangePassword")
async def change_password(world: World) -> Asked:
    user = await signed_in(world)
    return asked(USERS, "ChangePassword", user, password=PASSWORD, new_password=f"{PASSWORD} and more")


@accepted(PASSKEYS, "StartPasskeyRegistration")
async def start_passkey(world: World) -> Asked:
    return asked(PASSKEYS, "StartPasskeyRegistration", await signed_in(world))


@accepted(PASSKEYS, "CreatePasskey")
async def create_passkey(world: World) -> Asked:
    user = await signed_in(world)
    _, _, credential = await made(world, user)
    return asked(PASSKEYS, "CreatePasskey", user, credential_json=credential, name="my phone")


@accepted(PASSKEYS, "DeletePasskey")
async def delete_passkey(world: World) -> Asked:
    user = await signed_in(world)
    _, _, credential = await made(world, user)
    answer = await asked(PASSKEYS, "CreatePasskey", user, credential_json=credential, name="my phone").send(world)
    return asked(PASSKEYS, "DeletePasskey", user, passkey_id=answer.passkey.passkey_id)


@accepted(PASSKEYS, "StartPasskeySignIn")
async def start_passkey_sign_in(world: World) -> Asked:
    return asked(PASSKEYS, "StartPasskeySignIn")


@accepted(PASSKEYS, "CompletePasskeySignIn")
async def complete_passkey_sign_in(world: World) -> Asked:
    user = await signed_in(world)
    device, origin, credential = await made(world, user)
    await asked(PASSKEYS, "CreatePasskey", user, credential_json=credential, name="my phone").send(world)
    options = (await asked(PASSKEYS, "StartPasskeySignIn").send(world)).options.options_json
    return asked(PASSKEYS, "CompletePasskeySignIn", credential_json=device.get(options, origin=origin))


def with_provider(world: World) -> None:
    """Let svc_auth know an identity provider that believes whoever comes back."""
    federation: Any = world.hosted["svc_auth"].servicers[FEDERATION]._federation  # type: ignore[attr-defined]

    async def endpoint() -> str:
        return "https://id.example/authorize"

    async def close() -> None:
        return None

    async def proved(answer: Any, purpose: Any, **session: UUID | None) -> tuple[Flow, Claims]:
        flow = Flow(b"", "acme", BACK, purpose, session.get("user_id"), "", session.get("session_id"))
        return flow, Claims("https://id.example", uuid4().hex, f"{uuid4().hex}@example.com", "Ada")

    provider = SimpleNamespace(display_name="Acme", redirect_uris=(BACK,), client_id="titan", scopes=("openid",))
    federation._clients["acme"] = SimpleNamespace(provider=provider, authorization_endpoint=endpoint, close=close)
    federation._proved = proved


ANSWER = {"flow_token": "t" * 43, "state": "s" * 43, "code": "c"}
"""What a browser comes back with."""


@accepted(FEDERATION, "StartFederatedSignIn")
async def start_federated(world: World) -> Asked:
    with_provider(world)
    return asked(FEDERATION, "StartFederatedSignIn", provider="acme", redirect_uri=BACK)


@accepted(FEDERATION, "CompleteFederatedSignIn")
async def complete_federated(world: World) -> Asked:
    with_provider(world)
    return asked(FEDERATION, "CompleteFederatedSignIn", answer=ANSWER)


@accepted(FEDERATION, "StartIdentityLink")
async def start_link(world: World) -> Asked:
    with_provider(world)
    return asked(FEDERATION, "StartIdentityLink", await signed_in(world), provider="acme", redirect_uri=BACK)


@accepted(FEDERATION, "CompleteIdentityLink")
async def complete_link(world: World) -> Asked:
    with_provider(world)
    return asked(FEDERATION, "CompleteIdentityLink", await signed_in(world), answer=ANSWER)


@accepted(FEDERATION, "DeleteFederatedIdentity")
async def delete_identity(world: World) -> Asked:
    with_provider(world)
    user = await signed_in(world)
    linked = await asked(FEDERATION, "CompleteIdentityLink", user, answer=ANSWER).send(world)
    return asked(FEDERATION, "DeleteFederatedIdentity", user, identity_id=linked.identity.identity_id)


# What is gone for good.


@accepted(PRIVACY, "EraseMe")
async def erase_me(world: World) -> Asked:
    return asked(PRIVACY, "EraseMe", await signed_in(world), password=PASSWORD, confirm=True)


@accepted(PRIVACY, "EraseUser")
async def erase_user(world: World) -> Asked:
    return asked(PRIVACY, "EraseUser", ADMIN, user_id=(await guest(world)).user_id, reason="ticket 4711")


# Long jobs.


async def file_of(world: World) -> str:
    """Return the id of a new file."""
    made = await asked(FILES, "CreateFile", ADMIN, name="rows.csv", format=1, part={"data": b"sku,delta\n"}).send(world)
    return str(made.file.file_id)


def export(request_id: str) -> Asked:
    """Return the start of an export, which waits as nobody works here."""
    return asked(OPERATIONS, "StartOperation", ADMIN, job={"product_export": {"format": 1}}, request_id=request_id)


async def operation(world: World, *, cancelled: bool = False) -> str:
    """Return the id of an operation that waits, or was cancelled."""
    operation_id = str((await export(str(uuid4())).send(world)).operation.operation_id)
    if cancelled:
        await asked(OPERATIONS, "CancelOperation", ADMIN, operation_id=operation_id).send(world)
    return operation_id


@accepted(FILES, "CreateFile")
async def create_file(world: World) -> Asked:
    return asked(FILES, "CreateFile", ADMIN, name="rows.csv", format=1, part={"data": b"sku,delta\n"})


@accepted(FILES, "AppendFile")
async def append_file(world: World) -> Asked:
    file_id = await file_of(world)
    return asked(FILES, "AppendFile", ADMIN, file_id=file_id, offset=10, part={"data": b"mug,1\n"})


@accepted(OPERATIONS, "StartOperation")
async def start_operation(world: World) -> Asked:
    return export(str(uuid4()))


@accepted(OPERATIONS, "CancelOperation")
async def cancel_operation(world: World) -> Asked:
    return asked(OPERATIONS, "CancelOperation", ADMIN, operation_id=await operation(world))


@accepted(OPERATIONS, "RetryOperation")
async def retry_operation(world: World) -> Asked:
    return asked(OPERATIONS, "RetryOperation", ADMIN, operation_id=await operation(world, cancelled=True))
