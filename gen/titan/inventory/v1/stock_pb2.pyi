import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class StockMovementKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STOCK_MOVEMENT_KIND_UNSPECIFIED: _ClassVar[StockMovementKind]
    STOCK_MOVEMENT_KIND_ADJUSTED: _ClassVar[StockMovementKind]
    STOCK_MOVEMENT_KIND_RESERVED: _ClassVar[StockMovementKind]
    STOCK_MOVEMENT_KIND_RELEASED: _ClassVar[StockMovementKind]
    STOCK_MOVEMENT_KIND_SHIPPED: _ClassVar[StockMovementKind]
    STOCK_MOVEMENT_KIND_RESTOCKED: _ClassVar[StockMovementKind]
STOCK_MOVEMENT_KIND_UNSPECIFIED: StockMovementKind
STOCK_MOVEMENT_KIND_ADJUSTED: StockMovementKind
STOCK_MOVEMENT_KIND_RESERVED: StockMovementKind
STOCK_MOVEMENT_KIND_RELEASED: StockMovementKind
STOCK_MOVEMENT_KIND_SHIPPED: StockMovementKind
STOCK_MOVEMENT_KIND_RESTOCKED: StockMovementKind

class Stock(_message.Message):
    __slots__ = ("sku", "on_hand", "reserved", "available", "warehouses", "etag")
    SKU_FIELD_NUMBER: _ClassVar[int]
    ON_HAND_FIELD_NUMBER: _ClassVar[int]
    RESERVED_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    WAREHOUSES_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    sku: str
    on_hand: int
    reserved: int
    available: int
    warehouses: _containers.RepeatedCompositeFieldContainer[WarehouseStock]
    etag: str
    def __init__(self, sku: _Optional[str] = ..., on_hand: _Optional[int] = ..., reserved: _Optional[int] = ..., available: _Optional[int] = ..., warehouses: _Optional[_Iterable[_Union[WarehouseStock, _Mapping]]] = ..., etag: _Optional[str] = ...) -> None: ...

class WarehouseStock(_message.Message):
    __slots__ = ("warehouse_id", "on_hand", "reserved", "available")
    WAREHOUSE_ID_FIELD_NUMBER: _ClassVar[int]
    ON_HAND_FIELD_NUMBER: _ClassVar[int]
    RESERVED_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    warehouse_id: str
    on_hand: int
    reserved: int
    available: int
    def __init__(self, warehouse_id: _Optional[str] = ..., on_hand: _Optional[int] = ..., reserved: _Optional[int] = ..., available: _Optional[int] = ...) -> None: ...

class StockMovement(_message.Message):
    __slots__ = ("version", "kind", "warehouse_id", "on_hand_delta", "reserved_delta", "order_id", "reason", "record_time")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    WAREHOUSE_ID_FIELD_NUMBER: _ClassVar[int]
    ON_HAND_DELTA_FIELD_NUMBER: _ClassVar[int]
    RESERVED_DELTA_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RECORD_TIME_FIELD_NUMBER: _ClassVar[int]
    version: int
    kind: StockMovementKind
    warehouse_id: str
    on_hand_delta: int
    reserved_delta: int
    order_id: str
    reason: str
    record_time: _timestamp_pb2.Timestamp
    def __init__(self, version: _Optional[int] = ..., kind: _Optional[_Union[StockMovementKind, str]] = ..., warehouse_id: _Optional[str] = ..., on_hand_delta: _Optional[int] = ..., reserved_delta: _Optional[int] = ..., order_id: _Optional[str] = ..., reason: _Optional[str] = ..., record_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Allocation(_message.Message):
    __slots__ = ("line_number", "sku", "warehouse_id", "quantity")
    LINE_NUMBER_FIELD_NUMBER: _ClassVar[int]
    SKU_FIELD_NUMBER: _ClassVar[int]
    WAREHOUSE_ID_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    line_number: int
    sku: str
    warehouse_id: str
    quantity: int
    def __init__(self, line_number: _Optional[int] = ..., sku: _Optional[str] = ..., warehouse_id: _Optional[str] = ..., quantity: _Optional[int] = ...) -> None: ...
