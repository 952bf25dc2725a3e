from buf.validate import validate_pb2 as _validate_pb2
from google.api import annotations_pb2 as _annotations_pb2
from titan.auth.v1 import federation_pb2 as _federation_pb2
from titan.auth.v1 import passkey_pb2 as _passkey_pb2
from titan.auth.v1 import privacy_pb2 as _privacy_pb2
from titan.auth.v1 import second_factor_pb2 as _second_factor_pb2
from titan.auth.v1 import session_pb2 as _session_pb2
from titan.auth.v1 import user_pb2 as _user_pb2
from titan.cart.v1 import cart_pb2 as _cart_pb2
from titan.notify.v1 import notification_pb2 as _notification_pb2
from titan.options.v1 import options_pb2 as _options_pb2
from titan.order.v1 import invoice_pb2 as _invoice_pb2
from titan.order.v1 import order_pb2 as _order_pb2
from titan.payment.v1 import wallet_pb2 as _wallet_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ExportMyDataRequest(_message.Message):
    __slots__ = ("page_token",)
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_token: str
    def __init__(self, page_token: _Optional[str] = ...) -> None: ...

class ExportMyDataResponse(_message.Message):
    __slots__ = ("user", "sessions", "addresses", "second_factor", "passkeys", "identities", "cart", "wallet", "orders", "invoices", "transfers", "notifications", "next_page_token", "credit_notes", "words")
    USER_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    SECOND_FACTOR_FIELD_NUMBER: _ClassVar[int]
    PASSKEYS_FIELD_NUMBER: _ClassVar[int]
    IDENTITIES_FIELD_NUMBER: _ClassVar[int]
    CART_FIELD_NUMBER: _ClassVar[int]
    WALLET_FIELD_NUMBER: _ClassVar[int]
    ORDERS_FIELD_NUMBER: _ClassVar[int]
    INVOICES_FIELD_NUMBER: _ClassVar[int]
    TRANSFERS_FIELD_NUMBER: _ClassVar[int]
    NOTIFICATIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    CREDIT_NOTES_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    user: _user_pb2.User
    sessions: _containers.RepeatedCompositeFieldContainer[_session_pb2.Session]
    addresses: _containers.RepeatedCompositeFieldContainer[_user_pb2.SavedAddress]
    second_factor: _second_factor_pb2.SecondFactor
    passkeys: _containers.RepeatedCompositeFieldContainer[_passkey_pb2.Passkey]
    identities: _containers.RepeatedCompositeFieldContainer[_federation_pb2.FederatedIdentity]
    cart: _cart_pb2.CartContents
    wallet: _wallet_pb2.Wallet
    orders: _containers.RepeatedCompositeFieldContainer[_order_pb2.Order]
    invoices: _containers.RepeatedCompositeFieldContainer[_invoice_pb2.Invoice]
    transfers: _containers.RepeatedCompositeFieldContainer[_wallet_pb2.WalletTransfer]
    notifications: _containers.RepeatedCompositeFieldContainer[_notification_pb2.Notification]
    next_page_token: str
    credit_notes: _containers.RepeatedCompositeFieldContainer[_invoice_pb2.CreditNote]
    words: _containers.RepeatedCompositeFieldContainer[_order_pb2.OrderWords]
    def __init__(self, user: _Optional[_Union[_user_pb2.User, _Mapping]] = ..., sessions: _Optional[_Iterable[_Union[_session_pb2.Session, _Mapping]]] = ..., addresses: _Optional[_Iterable[_Union[_user_pb2.SavedAddress, _Mapping]]] = ..., second_factor: _Optional[_Union[_second_factor_pb2.SecondFactor, _Mapping]] = ..., passkeys: _Optional[_Iterable[_Union[_passkey_pb2.Passkey, _Mapping]]] = ..., identities: _Optional[_Iterable[_Union[_federation_pb2.FederatedIdentity, _Mapping]]] = ..., cart: _Optional[_Union[_cart_pb2.CartContents, _Mapping]] = ..., wallet: _Optional[_Union[_wallet_pb2.Wallet, _Mapping]] = ..., orders: _Optional[_Iterable[_Union[_order_pb2.Order, _Mapping]]] = ..., invoices: _Optional[_Iterable[_Union[_invoice_pb2.Invoice, _Mapping]]] = ..., transfers: _Optional[_Iterable[_Union[_wallet_pb2.WalletTransfer, _Mapping]]] = ..., notifications: _Optional[_Iterable[_Union[_notification_pb2.Notification, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., credit_notes: _Optional[_Iterable[_Union[_invoice_pb2.CreditNote, _Mapping]]] = ..., words: _Optional[_Iterable[_Union[_order_pb2.OrderWords, _Mapping]]] = ...) -> None: ...

class EraseMeRequest(_message.Message):
    __slots__ = ("password", "proof", "confirm")
    PASSWORD_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    CONFIRM_FIELD_NUMBER: _ClassVar[int]
    password: str
    proof: _second_factor_pb2.SecondFactorProof
    confirm: bool
    def __init__(self, password: _Optional[str] = ..., proof: _Optional[_Union[_second_factor_pb2.SecondFactorProof, _Mapping]] = ..., confirm: _Optional[bool] = ...) -> None: ...

class EraseMeResponse(_message.Message):
    __slots__ = ("erasure",)
    ERASURE_FIELD_NUMBER: _ClassVar[int]
    erasure: _privacy_pb2.Erasure
    def __init__(self, erasure: _Optional[_Union[_privacy_pb2.Erasure, _Mapping]] = ...) -> None: ...

class EraseUserRequest(_message.Message):
    __slots__ = ("user_id", "reason", "ticket_id")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    TICKET_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    reason: str
    ticket_id: str
    def __init__(self, user_id: _Optional[str] = ..., reason: _Optional[str] = ..., ticket_id: _Optional[str] = ...) -> None: ...

class EraseUserResponse(_message.Message):
    __slots__ = ("erasure",)
    ERASURE_FIELD_NUMBER: _ClassVar[int]
    erasure: _privacy_pb2.Erasure
    def __init__(self, erasure: _Optional[_Union[_privacy_pb2.Erasure, _Mapping]] = ...) -> None: ...

class GetErasureRequest(_message.Message):
    __slots__ = ("user_id", "ticket_id")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    TICKET_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    ticket_id: str
    def __init__(self, user_id: _Optional[str] = ..., ticket_id: _Optional[str] = ...) -> None: ...

class GetErasureResponse(_message.Message):
    __slots__ = ("erasure",)
    ERASURE_FIELD_NUMBER: _ClassVar[int]
    erasure: _privacy_pb2.Erasure
    def __init__(self, erasure: _Optional[_Union[_privacy_pb2.Erasure, _Mapping]] = ...) -> None: ...
