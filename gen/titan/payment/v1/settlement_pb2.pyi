import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from titan.type.v1 import money_pb2 as _money_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SettlementDifferenceKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SETTLEMENT_DIFFERENCE_KIND_UNSPECIFIED: _ClassVar[SettlementDifferenceKind]
    SETTLEMENT_DIFFERENCE_KIND_MISSING_HERE: _ClassVar[SettlementDifferenceKind]
    SETTLEMENT_DIFFERENCE_KIND_MISSING_THERE: _ClassVar[SettlementDifferenceKind]
    SETTLEMENT_DIFFERENCE_KIND_AMOUNT_DIFFERS: _ClassVar[SettlementDifferenceKind]
    SETTLEMENT_DIFFERENCE_KIND_OTHER_DAY: _ClassVar[SettlementDifferenceKind]
    SETTLEMENT_DIFFERENCE_KIND_RETURNED_THERE: _ClassVar[SettlementDifferenceKind]

class SettlementMovementKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SETTLEMENT_MOVEMENT_KIND_UNSPECIFIED: _ClassVar[SettlementMovementKind]
    SETTLEMENT_MOVEMENT_KIND_CAPTURE: _ClassVar[SettlementMovementKind]
    SETTLEMENT_MOVEMENT_KIND_REFUND: _ClassVar[SettlementMovementKind]
SETTLEMENT_DIFFERENCE_KIND_UNSPECIFIED: SettlementDifferenceKind
SETTLEMENT_DIFFERENCE_KIND_MISSING_HERE: SettlementDifferenceKind
SETTLEMENT_DIFFERENCE_KIND_MISSING_THERE: SettlementDifferenceKind
SETTLEMENT_DIFFERENCE_KIND_AMOUNT_DIFFERS: SettlementDifferenceKind
SETTLEMENT_DIFFERENCE_KIND_OTHER_DAY: SettlementDifferenceKind
SETTLEMENT_DIFFERENCE_KIND_RETURNED_THERE: SettlementDifferenceKind
SETTLEMENT_MOVEMENT_KIND_UNSPECIFIED: SettlementMovementKind
SETTLEMENT_MOVEMENT_KIND_CAPTURE: SettlementMovementKind
SETTLEMENT_MOVEMENT_KIND_REFUND: SettlementMovementKind

class Settlement(_message.Message):
    __slots__ = ("provider", "date", "compare_time", "totals", "counts", "reconciled")
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    DATE_FIELD_NUMBER: _ClassVar[int]
    COMPARE_TIME_FIELD_NUMBER: _ClassVar[int]
    TOTALS_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    RECONCILED_FIELD_NUMBER: _ClassVar[int]
    provider: str
    date: str
    compare_time: _timestamp_pb2.Timestamp
    totals: _containers.RepeatedCompositeFieldContainer[SettlementTotals]
    counts: _containers.RepeatedCompositeFieldContainer[SettlementCount]
    reconciled: bool
    def __init__(self, provider: _Optional[str] = ..., date: _Optional[str] = ..., compare_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., totals: _Optional[_Iterable[_Union[SettlementTotals, _Mapping]]] = ..., counts: _Optional[_Iterable[_Union[SettlementCount, _Mapping]]] = ..., reconciled: _Optional[bool] = ...) -> None: ...

class SettlementTotals(_message.Message):
    __slots__ = ("theirs", "ours", "difference")
    THEIRS_FIELD_NUMBER: _ClassVar[int]
    OURS_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCE_FIELD_NUMBER: _ClassVar[int]
    theirs: SettlementSide
    ours: SettlementSide
    difference: _money_pb2.Money
    def __init__(self, theirs: _Optional[_Union[SettlementSide, _Mapping]] = ..., ours: _Optional[_Union[SettlementSide, _Mapping]] = ..., difference: _Optional[_Union[_money_pb2.Money, _Mapping]] = ...) -> None: ...

class SettlementSide(_message.Message):
    __slots__ = ("captures", "captured", "refunds", "refunded", "net")
    CAPTURES_FIELD_NUMBER: _ClassVar[int]
    CAPTURED_FIELD_NUMBER: _ClassVar[int]
    REFUNDS_FIELD_NUMBER: _ClassVar[int]
    REFUNDED_FIELD_NUMBER: _ClassVar[int]
    NET_FIELD_NUMBER: _ClassVar[int]
    captures: int
    captured: _money_pb2.Money
    refunds: int
    refunded: _money_pb2.Money
    net: _money_pb2.Money
    def __init__(self, captures: _Optional[int] = ..., captured: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., refunds: _Optional[int] = ..., refunded: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., net: _Optional[_Union[_money_pb2.Money, _Mapping]] = ...) -> None: ...

class SettlementCount(_message.Message):
    __slots__ = ("kind", "differences")
    KIND_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCES_FIELD_NUMBER: _ClassVar[int]
    kind: SettlementDifferenceKind
    differences: int
    def __init__(self, kind: _Optional[_Union[SettlementDifferenceKind, str]] = ..., differences: _Optional[int] = ...) -> None: ...

class SettlementDifference(_message.Message):
    __slots__ = ("kind", "movement_kind", "payment_id", "movement_id", "order_id", "theirs", "their_time", "ours", "our_time")
    KIND_FIELD_NUMBER: _ClassVar[int]
    MOVEMENT_KIND_FIELD_NUMBER: _ClassVar[int]
    PAYMENT_ID_FIELD_NUMBER: _ClassVar[int]
    MOVEMENT_ID_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    THEIRS_FIELD_NUMBER: _ClassVar[int]
    THEIR_TIME_FIELD_NUMBER: _ClassVar[int]
    OURS_FIELD_NUMBER: _ClassVar[int]
    OUR_TIME_FIELD_NUMBER: _ClassVar[int]
    kind: SettlementDifferenceKind
    movement_kind: SettlementMovementKind
    payment_id: str
    movement_id: str
    order_id: str
    theirs: _money_pb2.Money
    their_time: _timestamp_pb2.Timestamp
    ours: _money_pb2.Money
    our_time: _timestamp_pb2.Timestamp
    def __init__(self, kind: _Optional[_Union[SettlementDifferenceKind, str]] = ..., movement_kind: _Optional[_Union[SettlementMovementKind, str]] = ..., payment_id: _Optional[str] = ..., movement_id: _Optional[str] = ..., order_id: _Optional[str] = ..., theirs: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., their_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., ours: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., our_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
