import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from titan.type.v1 import money_pb2 as _money_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Invoice(_message.Message):
    __slots__ = ("seller_id", "number", "order_id", "issue_time", "effective_time", "total", "tax", "shipping")
    SELLER_ID_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    ISSUE_TIME_FIELD_NUMBER: _ClassVar[int]
    EFFECTIVE_TIME_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    TAX_FIELD_NUMBER: _ClassVar[int]
    SHIPPING_FIELD_NUMBER: _ClassVar[int]
    seller_id: str
    number: int
    order_id: str
    issue_time: _timestamp_pb2.Timestamp
    effective_time: _timestamp_pb2.Timestamp
    total: _money_pb2.Money
    tax: _money_pb2.Money
    shipping: _money_pb2.Money
    def __init__(self, seller_id: _Optional[str] = ..., number: _Optional[int] = ..., order_id: _Optional[str] = ..., issue_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., effective_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., total: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., tax: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., shipping: _Optional[_Union[_money_pb2.Money, _Mapping]] = ...) -> None: ...

class CreditNote(_message.Message):
    __slots__ = ("seller_id", "number", "invoice_number", "order_id", "refund_id", "issue_time", "effective_time", "total", "tax")
    SELLER_ID_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    INVOICE_NUMBER_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    REFUND_ID_FIELD_NUMBER: _ClassVar[int]
    ISSUE_TIME_FIELD_NUMBER: _ClassVar[int]
    EFFECTIVE_TIME_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    TAX_FIELD_NUMBER: _ClassVar[int]
    seller_id: str
    number: int
    invoice_number: int
    order_id: str
    refund_id: str
    issue_time: _timestamp_pb2.Timestamp
    effective_time: _timestamp_pb2.Timestamp
    total: _money_pb2.Money
    tax: _money_pb2.Money
    def __init__(self, seller_id: _Optional[str] = ..., number: _Optional[int] = ..., invoice_number: _Optional[int] = ..., order_id: _Optional[str] = ..., refund_id: _Optional[str] = ..., issue_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., effective_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., total: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., tax: _Optional[_Union[_money_pb2.Money, _Mapping]] = ...) -> None: ...
