from titan.inventory.v1 import stock_pb2 as _stock_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class StockChanged(_message.Message):
    __slots__ = ("sku", "kind", "warehouse_id", "on_hand_delta", "reserved_delta", "on_hand", "reserved", "order_id")
    SKU_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    WAREHOUSE_ID_FIELD_NUMBER: _ClassVar[int]
    ON_HAND_DELTA_FIELD_NUMBER: _ClassVar[int]
    RESERVED_DELTA_FIELD_NUMBER: _ClassVar[int]
    ON_HAND_FIELD_NUMBER: _ClassVar[int]
    RESERVED_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    sku: str
    kind: _stock_pb2.StockMovementKind
    warehouse_id: str
    on_hand_delta: int
    reserved_delta: int
    on_hand: int
    reserved: int
    order_id: str
    def __init__(self, sku: _Optional[str] = ..., kind: _Optional[_Union[_stock_pb2.StockMovementKind, str]] = ..., warehouse_id: _Optional[str] = ..., on_hand_delta: _Optional[int] = ..., reserved_delta: _Optional[int] = ..., on_hand: _Optional[int] = ..., reserved: _Optional[int] = ..., order_id: _Optional[str] = ...) -> None: ...
