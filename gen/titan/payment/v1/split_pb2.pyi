import datetime

from buf.validate import validate_pb2 as _validate_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from titan.type.v1 import money_pb2 as _money_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SellerShareStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SELLER_SHARE_STATUS_UNSPECIFIED: _ClassVar[SellerShareStatus]
    SELLER_SHARE_STATUS_HELD: _ClassVar[SellerShareStatus]
    SELLER_SHARE_STATUS_RELEASED: _ClassVar[SellerShareStatus]
SELLER_SHARE_STATUS_UNSPECIFIED: SellerShareStatus
SELLER_SHARE_STATUS_HELD: SellerShareStatus
SELLER_SHARE_STATUS_RELEASED: SellerShareStatus

class SellerShare(_message.Message):
    __slots__ = ("seller_id", "order_id", "status", "sold", "refunded", "fee_basis_points", "fee", "payable", "hold_time", "release_time")
    SELLER_ID_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    SOLD_FIELD_NUMBER: _ClassVar[int]
    REFUNDED_FIELD_NUMBER: _ClassVar[int]
    FEE_BASIS_POINTS_FIELD_NUMBER: _ClassVar[int]
    FEE_FIELD_NUMBER: _ClassVar[int]
    PAYABLE_FIELD_NUMBER: _ClassVar[int]
    HOLD_TIME_FIELD_NUMBER: _ClassVar[int]
    RELEASE_TIME_FIELD_NUMBER: _ClassVar[int]
    seller_id: str
    order_id: str
    status: SellerShareStatus
    sold: _money_pb2.Money
    refunded: _money_pb2.Money
    fee_basis_points: int
    fee: _money_pb2.Money
    payable: _money_pb2.Money
    hold_time: _timestamp_pb2.Timestamp
    release_time: _timestamp_pb2.Timestamp
    def __init__(self, seller_id: _Optional[str] = ..., order_id: _Optional[str] = ..., status: _Optional[_Union[SellerShareStatus, str]] = ..., sold: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., refunded: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., fee_basis_points: _Optional[int] = ..., fee: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., payable: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., hold_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., release_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class SellerBalance(_message.Message):
    __slots__ = ("escrow", "payable", "paying_out")
    ESCROW_FIELD_NUMBER: _ClassVar[int]
    PAYABLE_FIELD_NUMBER: _ClassVar[int]
    PAYING_OUT_FIELD_NUMBER: _ClassVar[int]
    escrow: _money_pb2.Money
    payable: _money_pb2.Money
    paying_out: _money_pb2.Money
    def __init__(self, escrow: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., payable: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., paying_out: _Optional[_Union[_money_pb2.Money, _Mapping]] = ...) -> None: ...

class SellerAmount(_message.Message):
    __slots__ = ("seller_id", "amount_minor")
    SELLER_ID_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_MINOR_FIELD_NUMBER: _ClassVar[int]
    seller_id: str
    amount_minor: int
    def __init__(self, seller_id: _Optional[str] = ..., amount_minor: _Optional[int] = ...) -> None: ...
