from buf.validate import validate_pb2 as _validate_pb2
from google.rpc import status_pb2 as _status_pb2
from titan.options.v1 import options_pb2 as _options_pb2
from titan.payment.v1 import payment_pb2 as _payment_pb2
from titan.payment.v1 import refund_pb2 as _refund_pb2
from titan.payment.v1 import split_pb2 as _split_pb2
from titan.type.v1 import money_pb2 as _money_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class BatchRefundRequest(_message.Message):
    __slots__ = ("intents",)
    INTENTS_FIELD_NUMBER: _ClassVar[int]
    intents: _containers.RepeatedCompositeFieldContainer[RefundIntent]
    def __init__(self, intents: _Optional[_Iterable[_Union[RefundIntent, _Mapping]]] = ...) -> None: ...

class RefundIntent(_message.Message):
    __slots__ = ("refund_id", "order_id", "amount", "sold", "borne")
    REFUND_ID_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    SOLD_FIELD_NUMBER: _ClassVar[int]
    BORNE_FIELD_NUMBER: _ClassVar[int]
    refund_id: str
    order_id: str
    amount: _money_pb2.Money
    sold: _containers.RepeatedCompositeFieldContainer[_split_pb2.SellerAmount]
    borne: _containers.RepeatedCompositeFieldContainer[_split_pb2.SellerAmount]
    def __init__(self, refund_id: _Optional[str] = ..., order_id: _Optional[str] = ..., amount: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., sold: _Optional[_Iterable[_Union[_split_pb2.SellerAmount, _Mapping]]] = ..., borne: _Optional[_Iterable[_Union[_split_pb2.SellerAmount, _Mapping]]] = ...) -> None: ...

class BatchRefundResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[RefundResult]
    def __init__(self, results: _Optional[_Iterable[_Union[RefundResult, _Mapping]]] = ...) -> None: ...

class RefundResult(_message.Message):
    __slots__ = ("refund_id", "status", "amount", "payment_status", "error")
    REFUND_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    PAYMENT_STATUS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    refund_id: str
    status: _refund_pb2.RefundStatus
    amount: _money_pb2.Money
    payment_status: _payment_pb2.PaymentStatus
    error: _status_pb2.Status
    def __init__(self, refund_id: _Optional[str] = ..., status: _Optional[_Union[_refund_pb2.RefundStatus, str]] = ..., amount: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., payment_status: _Optional[_Union[_payment_pb2.PaymentStatus, str]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...
