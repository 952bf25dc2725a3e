import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from titan.type.v1 import money_pb2 as _money_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class WalletTransferKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WALLET_TRANSFER_KIND_UNSPECIFIED: _ClassVar[WalletTransferKind]
    WALLET_TRANSFER_KIND_TOP_UP: _ClassVar[WalletTransferKind]
    WALLET_TRANSFER_KIND_CREDIT: _ClassVar[WalletTransferKind]
    WALLET_TRANSFER_KIND_PAYMENT: _ClassVar[WalletTransferKind]
    WALLET_TRANSFER_KIND_REFUND: _ClassVar[WalletTransferKind]
WALLET_TRANSFER_KIND_UNSPECIFIED: WalletTransferKind
WALLET_TRANSFER_KIND_TOP_UP: WalletTransferKind
WALLET_TRANSFER_KIND_CREDIT: WalletTransferKind
WALLET_TRANSFER_KIND_PAYMENT: WalletTransferKind
WALLET_TRANSFER_KIND_REFUND: WalletTransferKind

class Wallet(_message.Message):
    __slots__ = ("balance", "pending")
    BALANCE_FIELD_NUMBER: _ClassVar[int]
    PENDING_FIELD_NUMBER: _ClassVar[int]
    balance: _money_pb2.Money
    pending: _money_pb2.Money
    def __init__(self, balance: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., pending: _Optional[_Union[_money_pb2.Money, _Mapping]] = ...) -> None: ...

class WalletTransfer(_message.Message):
    __slots__ = ("transfer_id", "amount", "kind", "order_id", "create_time")
    TRANSFER_ID_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    transfer_id: str
    amount: _money_pb2.Money
    kind: WalletTransferKind
    order_id: str
    create_time: _timestamp_pb2.Timestamp
    def __init__(self, transfer_id: _Optional[str] = ..., amount: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., kind: _Optional[_Union[WalletTransferKind, str]] = ..., order_id: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
