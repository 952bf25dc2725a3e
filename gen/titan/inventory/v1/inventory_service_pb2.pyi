from buf.validate import validate_pb2 as _validate_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.rpc import status_pb2 as _status_pb2
from titan.inventory.v1 import stock_pb2 as _stock_pb2
from titan.options.v1 import options_pb2 as _options_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetStockRequest(_message.Message):
    __slots__ = ("sku",)
    SKU_FIELD_NUMBER: _ClassVar[int]
    sku: str
    def __init__(self, sku: _Optional[str] = ...) -> None: ...

class GetStockResponse(_message.Message):
    __slots__ = ("stock",)
    STOCK_FIELD_NUMBER: _ClassVar[int]
    stock: _stock_pb2.Stock
    def __init__(self, stock: _Optional[_Union[_stock_pb2.Stock, _Mapping]] = ...) -> None: ...

class AdjustStockRequest(_message.Message):
    __slots__ = ("sku", "delta", "reason", "request_id", "warehouse_id")
    SKU_FIELD_NUMBER: _ClassVar[int]
    DELTA_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    WAREHOUSE_ID_FIELD_NUMBER: _ClassVar[int]
    sku: str
    delta: int
    reason: str
    request_id: str
    warehouse_id: str
    def __init__(self, sku: _Optional[str] = ..., delta: _Optional[int] = ..., reason: _Optional[str] = ..., request_id: _Optional[str] = ..., warehouse_id: _Optional[str] = ...) -> None: ...

class AdjustStockResponse(_message.Message):
    __slots__ = ("stock",)
    STOCK_FIELD_NUMBER: _ClassVar[int]
    stock: _stock_pb2.Stock
    def __init__(self, stock: _Optional[_Union[_stock_pb2.Stock, _Mapping]] = ...) -> None: ...

class BatchAdjustStockRequest(_message.Message):
    __slots__ = ("adjustments", "request_id")
    ADJUSTMENTS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    adjustments: _containers.RepeatedCompositeFieldContainer[StockAdjustment]
    request_id: str
    def __init__(self, adjustments: _Optional[_Iterable[_Union[StockAdjustment, _Mapping]]] = ..., request_id: _Optional[str] = ...) -> None: ...

class StockAdjustment(_message.Message):
    __slots__ = ("sku", "delta", "reason", "warehouse_id")
    SKU_FIELD_NUMBER: _ClassVar[int]
    DELTA_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    WAREHOUSE_ID_FIELD_NUMBER: _ClassVar[int]
    sku: str
    delta: int
    reason: str
    warehouse_id: str
    def __init__(self, sku: _Optional[str] = ..., delta: _Optional[int] = ..., reason: _Optional[str] = ..., warehouse_id: _Optional[str] = ...) -> None: ...

class BatchAdjustStockResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[AdjustStockResult]
    def __init__(self, results: _Optional[_Iterable[_Union[AdjustStockResult, _Mapping]]] = ...) -> None: ...

class AdjustStockResult(_message.Message):
    __slots__ = ("stock", "error")
    STOCK_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    stock: _stock_pb2.Stock
    error: _status_pb2.Status
    def __init__(self, stock: _Optional[_Union[_stock_pb2.Stock, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class ListStockMovementsRequest(_message.Message):
    __slots__ = ("sku", "page_size", "page_token")
    SKU_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    sku: str
    page_size: int
    page_token: str
    def __init__(self, sku: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListStockMovementsResponse(_message.Message):
    __slots__ = ("movements", "next_page_token")
    MOVEMENTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    movements: _containers.RepeatedCompositeFieldContainer[_stock_pb2.StockMovement]
    next_page_token: str
    def __init__(self, movements: _Optional[_Iterable[_Union[_stock_pb2.StockMovement, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class BatchReserveRequest(_message.Message):
    __slots__ = ("reservations",)
    RESERVATIONS_FIELD_NUMBER: _ClassVar[int]
    reservations: _containers.RepeatedCompositeFieldContainer[Reservation]
    def __init__(self, reservations: _Optional[_Iterable[_Union[Reservation, _Mapping]]] = ...) -> None: ...

class Reservation(_message.Message):
    __slots__ = ("order_id", "lines")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    LINES_FIELD_NUMBER: _ClassVar[int]
    order_id: str
    lines: _containers.RepeatedCompositeFieldContainer[ReservationLine]
    def __init__(self, order_id: _Optional[str] = ..., lines: _Optional[_Iterable[_Union[ReservationLine, _Mapping]]] = ...) -> None: ...

class ReservationLine(_message.Message):
    __slots__ = ("line_number", "sku", "quantity")
    LINE_NUMBER_FIELD_NUMBER: _ClassVar[int]
    SKU_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    line_number: int
    sku: str
    quantity: int
    def __init__(self, line_number: _Optional[int] = ..., sku: _Optional[str] = ..., quantity: _Optional[int] = ...) -> None: ...

class BatchReserveResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[ReserveResult]
    def __init__(self, results: _Optional[_Iterable[_Union[ReserveResult, _Mapping]]] = ...) -> None: ...

class ReserveResult(_message.Message):
    __slots__ = ("order_id", "allocations", "error")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    ALLOCATIONS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    order_id: str
    allocations: _containers.RepeatedCompositeFieldContainer[_stock_pb2.Allocation]
    error: _status_pb2.Status
    def __init__(self, order_id: _Optional[str] = ..., allocations: _Optional[_Iterable[_Union[_stock_pb2.Allocation, _Mapping]]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class BatchReleaseRequest(_message.Message):
    __slots__ = ("order_ids",)
    ORDER_IDS_FIELD_NUMBER: _ClassVar[int]
    order_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, order_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class BatchReleaseResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[StockEffectResult]
    def __init__(self, results: _Optional[_Iterable[_Union[StockEffectResult, _Mapping]]] = ...) -> None: ...

class BatchShipRequest(_message.Message):
    __slots__ = ("order_ids",)
    ORDER_IDS_FIELD_NUMBER: _ClassVar[int]
    order_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, order_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class BatchShipResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[StockEffectResult]
    def __init__(self, results: _Optional[_Iterable[_Union[StockEffectResult, _Mapping]]] = ...) -> None: ...

class BatchRestockRequest(_message.Message):
    __slots__ = ("restocks",)
    RESTOCKS_FIELD_NUMBER: _ClassVar[int]
    restocks: _containers.RepeatedCompositeFieldContainer[Restock]
    def __init__(self, restocks: _Optional[_Iterable[_Union[Restock, _Mapping]]] = ...) -> None: ...

class Restock(_message.Message):
    __slots__ = ("restock_id", "order_id", "lines")
    RESTOCK_ID_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    LINES_FIELD_NUMBER: _ClassVar[int]
    restock_id: str
    order_id: str
    lines: _containers.RepeatedCompositeFieldContainer[ReservationLine]
    def __init__(self, restock_id: _Optional[str] = ..., order_id: _Optional[str] = ..., lines: _Optional[_Iterable[_Union[ReservationLine, _Mapping]]] = ...) -> None: ...

class BatchRestockResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[StockEffectResult]
    def __init__(self, results: _Optional[_Iterable[_Union[StockEffectResult, _Mapping]]] = ...) -> None: ...

class StockEffectResult(_message.Message):
    __slots__ = ("order_id", "error")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    order_id: str
    error: _status_pb2.Status
    def __init__(self, order_id: _Optional[str] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class BatchSetStockRequest(_message.Message):
    __slots__ = ("operation_id", "request_id", "changes", "validate_only")
    OPERATION_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    operation_id: str
    request_id: str
    changes: _containers.RepeatedCompositeFieldContainer[StockChange]
    validate_only: bool
    def __init__(self, operation_id: _Optional[str] = ..., request_id: _Optional[str] = ..., changes: _Optional[_Iterable[_Union[StockChange, _Mapping]]] = ..., validate_only: _Optional[bool] = ...) -> None: ...

class StockChange(_message.Message):
    __slots__ = ("sku", "delta", "on_hand", "reason", "warehouse_id")
    SKU_FIELD_NUMBER: _ClassVar[int]
    DELTA_FIELD_NUMBER: _ClassVar[int]
    ON_HAND_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    WAREHOUSE_ID_FIELD_NUMBER: _ClassVar[int]
    sku: str
    delta: int
    on_hand: int
    reason: str
    warehouse_id: str
    def __init__(self, sku: _Optional[str] = ..., delta: _Optional[int] = ..., on_hand: _Optional[int] = ..., reason: _Optional[str] = ..., warehouse_id: _Optional[str] = ...) -> None: ...

class BatchSetStockResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[SetStockResult]
    def __init__(self, results: _Optional[_Iterable[_Union[SetStockResult, _Mapping]]] = ...) -> None: ...

class SetStockResult(_message.Message):
    __slots__ = ("on_hand_delta", "error")
    ON_HAND_DELTA_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    on_hand_delta: int
    error: _status_pb2.Status
    def __init__(self, on_hand_delta: _Optional[int] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...
