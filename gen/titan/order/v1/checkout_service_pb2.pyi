import datetime

from buf.validate import validate_pb2 as _validate_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from titan.options.v1 import options_pb2 as _options_pb2
from titan.order.v1 import order_pb2 as _order_pb2
from titan.payment.v1 import payment_pb2 as _payment_pb2
from titan.type.v1 import address_pb2 as _address_pb2
from titan.type.v1 import money_pb2 as _money_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PlaceOrderRequest(_message.Message):
    __slots__ = ("expected_total", "shipping_address", "contact_email", "payment", "lines", "request_id", "effective_time", "agreed_shipping", "agreed_discount")
    EXPECTED_TOTAL_FIELD_NUMBER: _ClassVar[int]
    SHIPPING_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    CONTACT_EMAIL_FIELD_NUMBER: _ClassVar[int]
    PAYMENT_FIELD_NUMBER: _ClassVar[int]
    LINES_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    EFFECTIVE_TIME_FIELD_NUMBER: _ClassVar[int]
    AGREED_SHIPPING_FIELD_NUMBER: _ClassVar[int]
    AGREED_DISCOUNT_FIELD_NUMBER: _ClassVar[int]
    expected_total: _money_pb2.Money
    shipping_address: _address_pb2.Address
    contact_email: str
    payment: _payment_pb2.PaymentMethod
    lines: _containers.RepeatedCompositeFieldContainer[PlaceOrderLine]
    request_id: str
    effective_time: _timestamp_pb2.Timestamp
    agreed_shipping: _money_pb2.Money
    agreed_discount: _money_pb2.Money
    def __init__(self, expected_total: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., shipping_address: _Optional[_Union[_address_pb2.Address, _Mapping]] = ..., contact_email: _Optional[str] = ..., payment: _Optional[_Union[_payment_pb2.PaymentMethod, _Mapping]] = ..., lines: _Optional[_Iterable[_Union[PlaceOrderLine, _Mapping]]] = ..., request_id: _Optional[str] = ..., effective_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., agreed_shipping: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., agreed_discount: _Optional[_Union[_money_pb2.Money, _Mapping]] = ...) -> None: ...

class PlaceOrderLine(_message.Message):
    __slots__ = ("sku", "quantity", "agreed_price")
    SKU_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    AGREED_PRICE_FIELD_NUMBER: _ClassVar[int]
    sku: str
    quantity: int
    agreed_price: _money_pb2.Money
    def __init__(self, sku: _Optional[str] = ..., quantity: _Optional[int] = ..., agreed_price: _Optional[_Union[_money_pb2.Money, _Mapping]] = ...) -> None: ...

class PlaceOrderResponse(_message.Message):
    __slots__ = ("order",)
    ORDER_FIELD_NUMBER: _ClassVar[int]
    order: _order_pb2.Order
    def __init__(self, order: _Optional[_Union[_order_pb2.Order, _Mapping]] = ...) -> None: ...

class QuoteOrderRequest(_message.Message):
    __slots__ = ("lines",)
    LINES_FIELD_NUMBER: _ClassVar[int]
    lines: _containers.RepeatedCompositeFieldContainer[PlaceOrderLine]
    def __init__(self, lines: _Optional[_Iterable[_Union[PlaceOrderLine, _Mapping]]] = ...) -> None: ...

class QuoteOrderResponse(_message.Message):
    __slots__ = ("quote",)
    QUOTE_FIELD_NUMBER: _ClassVar[int]
    quote: _order_pb2.Quote
    def __init__(self, quote: _Optional[_Union[_order_pb2.Quote, _Mapping]] = ...) -> None: ...
