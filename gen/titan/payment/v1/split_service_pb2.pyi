from buf.validate import validate_pb2 as _validate_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.rpc import status_pb2 as _status_pb2
from titan.options.v1 import options_pb2 as _options_pb2
from titan.payment.v1 import split_pb2 as _split_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class OrderShares(_message.Message):
    __slots__ = ("order_id", "sold")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    SOLD_FIELD_NUMBER: _ClassVar[int]
    order_id: str
    sold: _containers.RepeatedCompositeFieldContainer[_split_pb2.SellerAmount]
    def __init__(self, order_id: _Optional[str] = ..., sold: _Optional[_Iterable[_Union[_split_pb2.SellerAmount, _Mapping]]] = ...) -> None: ...

class OrderSharesResult(_message.Message):
    __slots__ = ("order_id", "error")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    order_id: str
    error: _status_pb2.Status
    def __init__(self, order_id: _Optional[str] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class BatchHoldSharesRequest(_message.Message):
    __slots__ = ("orders",)
    ORDERS_FIELD_NUMBER: _ClassVar[int]
    orders: _containers.RepeatedCompositeFieldContainer[OrderShares]
    def __init__(self, orders: _Optional[_Iterable[_Union[OrderShares, _Mapping]]] = ...) -> None: ...

class BatchHoldSharesResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[OrderSharesResult]
    def __init__(self, results: _Optional[_Iterable[_Union[OrderSharesResult, _Mapping]]] = ...) -> None: ...

class BatchReleaseSharesRequest(_message.Message):
    __slots__ = ("orders",)
    ORDERS_FIELD_NUMBER: _ClassVar[int]
    orders: _containers.RepeatedCompositeFieldContainer[OrderShares]
    def __init__(self, orders: _Optional[_Iterable[_Union[OrderShares, _Mapping]]] = ...) -> None: ...

class BatchReleaseSharesResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[OrderSharesResult]
    def __init__(self, results: _Optional[_Iterable[_Union[OrderSharesResult, _Mapping]]] = ...) -> None: ...

class GetSellerBalanceRequest(_message.Message):
    __slots__ = ("seller_id",)
    SELLER_ID_FIELD_NUMBER: _ClassVar[int]
    seller_id: str
    def __init__(self, seller_id: _Optional[str] = ...) -> None: ...

class GetSellerBalanceResponse(_message.Message):
    __slots__ = ("balances",)
    BALANCES_FIELD_NUMBER: _ClassVar[int]
    balances: _containers.RepeatedCompositeFieldContainer[_split_pb2.SellerBalance]
    def __init__(self, balances: _Optional[_Iterable[_Union[_split_pb2.SellerBalance, _Mapping]]] = ...) -> None: ...

class ListSellerSharesRequest(_message.Message):
    __slots__ = ("seller_id", "page_size", "page_token")
    SELLER_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    seller_id: str
    page_size: int
    page_token: str
    def __init__(self, seller_id: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListSellerSharesResponse(_message.Message):
    __slots__ = ("shares", "next_page_token")
    SHARES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    shares: _containers.RepeatedCompositeFieldContainer[_split_pb2.SellerShare]
    next_page_token: str
    def __init__(self, shares: _Optional[_Iterable[_Union[_split_pb2.SellerShare, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...
