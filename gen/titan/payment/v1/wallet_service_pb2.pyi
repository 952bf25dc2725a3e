from buf.validate import validate_pb2 as _validate_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.rpc import status_pb2 as _status_pb2
from titan.options.v1 import options_pb2 as _options_pb2
from titan.payment.v1 import wallet_pb2 as _wallet_pb2
from titan.type.v1 import money_pb2 as _money_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetWalletRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetWalletResponse(_message.Message):
    __slots__ = ("wallet",)
    WALLET_FIELD_NUMBER: _ClassVar[int]
    wallet: _wallet_pb2.Wallet
    def __init__(self, wallet: _Optional[_Union[_wallet_pb2.Wallet, _Mapping]] = ...) -> None: ...

class TopUpWalletRequest(_message.Message):
    __slots__ = ("amount", "card_token", "request_id")
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    CARD_TOKEN_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    amount: _money_pb2.Money
    card_token: str
    request_id: str
    def __init__(self, amount: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., card_token: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class TopUpWalletResponse(_message.Message):
    __slots__ = ("wallet",)
    WALLET_FIELD_NUMBER: _ClassVar[int]
    wallet: _wallet_pb2.Wallet
    def __init__(self, wallet: _Optional[_Union[_wallet_pb2.Wallet, _Mapping]] = ...) -> None: ...

class ListWalletTransfersRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListWalletTransfersResponse(_message.Message):
    __slots__ = ("transfers", "next_page_token")
    TRANSFERS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    transfers: _containers.RepeatedCompositeFieldContainer[_wallet_pb2.WalletTransfer]
    next_page_token: str
    def __init__(self, transfers: _Optional[_Iterable[_Union[_wallet_pb2.WalletTransfer, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class BatchCreditWalletsRequest(_message.Message):
    __slots__ = ("credits", "request_id")
    CREDITS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    credits: _containers.RepeatedCompositeFieldContainer[WalletCredit]
    request_id: str
    def __init__(self, credits: _Optional[_Iterable[_Union[WalletCredit, _Mapping]]] = ..., request_id: _Optional[str] = ...) -> None: ...

class WalletCredit(_message.Message):
    __slots__ = ("user_id", "amount")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    amount: _money_pb2.Money
    def __init__(self, user_id: _Optional[str] = ..., amount: _Optional[_Union[_money_pb2.Money, _Mapping]] = ...) -> None: ...

class BatchCreditWalletsResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[WalletCreditResult]
    def __init__(self, results: _Optional[_Iterable[_Union[WalletCreditResult, _Mapping]]] = ...) -> None: ...

class WalletCreditResult(_message.Message):
    __slots__ = ("user_id", "wallet", "error")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    WALLET_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    wallet: _wallet_pb2.Wallet
    error: _status_pb2.Status
    def __init__(self, user_id: _Optional[str] = ..., wallet: _Optional[_Union[_wallet_pb2.Wallet, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class GetUserStatementRequest(_message.Message):
    __slots__ = ("user_id", "page_size", "page_token")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    page_size: int
    page_token: str
    def __init__(self, user_id: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class GetUserStatementResponse(_message.Message):
    __slots__ = ("wallet", "top_up_in_progress", "transfers", "next_page_token")
    WALLET_FIELD_NUMBER: _ClassVar[int]
    TOP_UP_IN_PROGRESS_FIELD_NUMBER: _ClassVar[int]
    TRANSFERS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    wallet: _wallet_pb2.Wallet
    top_up_in_progress: bool
    transfers: _containers.RepeatedCompositeFieldContainer[_wallet_pb2.WalletTransfer]
    next_page_token: str
    def __init__(self, wallet: _Optional[_Union[_wallet_pb2.Wallet, _Mapping]] = ..., top_up_in_progress: _Optional[bool] = ..., transfers: _Optional[_Iterable[_Union[_wallet_pb2.WalletTransfer, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...
