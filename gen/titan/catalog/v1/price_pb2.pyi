import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from titan.type.v1 import money_pb2 as _money_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PriceSource(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRICE_SOURCE_UNSPECIFIED: _ClassVar[PriceSource]
    PRICE_SOURCE_CATALOGUE: _ClassVar[PriceSource]
    PRICE_SOURCE_ORDER: _ClassVar[PriceSource]
PRICE_SOURCE_UNSPECIFIED: PriceSource
PRICE_SOURCE_CATALOGUE: PriceSource
PRICE_SOURCE_ORDER: PriceSource

class HistoricPrice(_message.Message):
    __slots__ = ("effective_time", "price", "source")
    EFFECTIVE_TIME_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    effective_time: _timestamp_pb2.Timestamp
    price: _money_pb2.Money
    source: PriceSource
    def __init__(self, effective_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., price: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., source: _Optional[_Union[PriceSource, str]] = ...) -> None: ...
