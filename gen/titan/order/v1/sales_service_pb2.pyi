import datetime

from buf.validate import validate_pb2 as _validate_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from titan.options.v1 import options_pb2 as _options_pb2
from titan.order.v1 import order_pb2 as _order_pb2
from titan.type.v1 import money_pb2 as _money_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ListImportedOrdersRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "from_time", "to_time")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FROM_TIME_FIELD_NUMBER: _ClassVar[int]
    TO_TIME_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    from_time: _timestamp_pb2.Timestamp
    to_time: _timestamp_pb2.Timestamp
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., from_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., to_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ListImportedOrdersResponse(_message.Message):
    __slots__ = ("orders", "next_page_token")
    ORDERS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    orders: _containers.RepeatedCompositeFieldContainer[ImportedOrder]
    next_page_token: str
    def __init__(self, orders: _Optional[_Iterable[_Union[ImportedOrder, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ImportedOrder(_message.Message):
    __slots__ = ("order_id", "request_id", "status", "cancel_reason", "total", "effective_time", "refunds")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    CANCEL_REASON_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    EFFECTIVE_TIME_FIELD_NUMBER: _ClassVar[int]
    REFUNDS_FIELD_NUMBER: _ClassVar[int]
    order_id: str
    request_id: str
    status: _order_pb2.OrderStatus
    cancel_reason: str
    total: _money_pb2.Money
    effective_time: _timestamp_pb2.Timestamp
    refunds: _containers.RepeatedCompositeFieldContainer[ImportedRefund]
    def __init__(self, order_id: _Optional[str] = ..., request_id: _Optional[str] = ..., status: _Optional[_Union[_order_pb2.OrderStatus, str]] = ..., cancel_reason: _Optional[str] = ..., total: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., effective_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., refunds: _Optional[_Iterable[_Union[ImportedRefund, _Mapping]]] = ...) -> None: ...

class ImportedRefund(_message.Message):
    __slots__ = ("refund_id", "amount", "effective_time")
    REFUND_ID_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    EFFECTIVE_TIME_FIELD_NUMBER: _ClassVar[int]
    refund_id: str
    amount: _money_pb2.Money
    effective_time: _timestamp_pb2.Timestamp
    def __init__(self, refund_id: _Optional[str] = ..., amount: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., effective_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class SumSalesRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "from_time", "to_time")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FROM_TIME_FIELD_NUMBER: _ClassVar[int]
    TO_TIME_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    from_time: _timestamp_pb2.Timestamp
    to_time: _timestamp_pb2.Timestamp
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., from_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., to_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class SumSalesResponse(_message.Message):
    __slots__ = ("orders", "days", "countries", "customers", "skus", "next_page_token")
    ORDERS_FIELD_NUMBER: _ClassVar[int]
    DAYS_FIELD_NUMBER: _ClassVar[int]
    COUNTRIES_FIELD_NUMBER: _ClassVar[int]
    CUSTOMERS_FIELD_NUMBER: _ClassVar[int]
    SKUS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    orders: int
    days: _containers.RepeatedCompositeFieldContainer[SalesSums]
    countries: _containers.RepeatedCompositeFieldContainer[SalesSums]
    customers: _containers.RepeatedCompositeFieldContainer[SalesSums]
    skus: _containers.RepeatedCompositeFieldContainer[SkuSales]
    next_page_token: str
    def __init__(self, orders: _Optional[int] = ..., days: _Optional[_Iterable[_Union[SalesSums, _Mapping]]] = ..., countries: _Optional[_Iterable[_Union[SalesSums, _Mapping]]] = ..., customers: _Optional[_Iterable[_Union[SalesSums, _Mapping]]] = ..., skus: _Optional[_Iterable[_Union[SkuSales, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class SalesSums(_message.Message):
    __slots__ = ("name", "currency_code", "orders", "units", "total_minor", "refunded_minor")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_CODE_FIELD_NUMBER: _ClassVar[int]
    ORDERS_FIELD_NUMBER: _ClassVar[int]
    UNITS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_MINOR_FIELD_NUMBER: _ClassVar[int]
    REFUNDED_MINOR_FIELD_NUMBER: _ClassVar[int]
    name: str
    currency_code: str
    orders: int
    units: int
    total_minor: int
    refunded_minor: int
    def __init__(self, name: _Optional[str] = ..., currency_code: _Optional[str] = ..., orders: _Optional[int] = ..., units: _Optional[int] = ..., total_minor: _Optional[int] = ..., refunded_minor: _Optional[int] = ...) -> None: ...

class SkuSales(_message.Message):
    __slots__ = ("sku", "title", "currency_code", "units", "returned_units", "total_minor", "orders")
    SKU_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_CODE_FIELD_NUMBER: _ClassVar[int]
    UNITS_FIELD_NUMBER: _ClassVar[int]
    RETURNED_UNITS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_MINOR_FIELD_NUMBER: _ClassVar[int]
    ORDERS_FIELD_NUMBER: _ClassVar[int]
    sku: str
    title: str
    currency_code: str
    units: int
    returned_units: int
    total_minor: int
    orders: int
    def __init__(self, sku: _Optional[str] = ..., title: _Optional[str] = ..., currency_code: _Optional[str] = ..., units: _Optional[int] = ..., returned_units: _Optional[int] = ..., total_minor: _Optional[int] = ..., orders: _Optional[int] = ...) -> None: ...
