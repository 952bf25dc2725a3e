import datetime

from buf.validate import validate_pb2 as _validate_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.rpc import status_pb2 as _status_pb2
from titan.bulk.v1 import file_pb2 as _file_pb2
from titan.catalog.v1 import search_service_pb2 as _search_service_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class OperationState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OPERATION_STATE_UNSPECIFIED: _ClassVar[OperationState]
    OPERATION_STATE_QUEUED: _ClassVar[OperationState]
    OPERATION_STATE_RUNNING: _ClassVar[OperationState]
    OPERATION_STATE_SUCCEEDED: _ClassVar[OperationState]
    OPERATION_STATE_FAILED: _ClassVar[OperationState]
    OPERATION_STATE_DEAD: _ClassVar[OperationState]
    OPERATION_STATE_CANCELLED: _ClassVar[OperationState]

class PriceRounding(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRICE_ROUNDING_UNSPECIFIED: _ClassVar[PriceRounding]
    PRICE_ROUNDING_UP: _ClassVar[PriceRounding]
    PRICE_ROUNDING_DOWN: _ClassVar[PriceRounding]
OPERATION_STATE_UNSPECIFIED: OperationState
OPERATION_STATE_QUEUED: OperationState
OPERATION_STATE_RUNNING: OperationState
OPERATION_STATE_SUCCEEDED: OperationState
OPERATION_STATE_FAILED: OperationState
OPERATION_STATE_DEAD: OperationState
OPERATION_STATE_CANCELLED: OperationState
PRICE_ROUNDING_UNSPECIFIED: PriceRounding
PRICE_ROUNDING_UP: PriceRounding
PRICE_ROUNDING_DOWN: PriceRounding

class Operation(_message.Message):
    __slots__ = ("operation_id", "job", "state", "done", "progress", "error", "files", "attempts", "problem", "cancel_requested", "create_time", "start_time", "end_time")
    OPERATION_ID_FIELD_NUMBER: _ClassVar[int]
    JOB_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    CANCEL_REQUESTED_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    operation_id: str
    job: Job
    state: OperationState
    done: bool
    progress: OperationProgress
    error: _status_pb2.Status
    files: _containers.RepeatedCompositeFieldContainer[_file_pb2.File]
    attempts: int
    problem: str
    cancel_requested: bool
    create_time: _timestamp_pb2.Timestamp
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    def __init__(self, operation_id: _Optional[str] = ..., job: _Optional[_Union[Job, _Mapping]] = ..., state: _Optional[_Union[OperationState, str]] = ..., done: _Optional[bool] = ..., progress: _Optional[_Union[OperationProgress, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ..., files: _Optional[_Iterable[_Union[_file_pb2.File, _Mapping]]] = ..., attempts: _Optional[int] = ..., problem: _Optional[str] = ..., cancel_requested: _Optional[bool] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class OperationProgress(_message.Message):
    __slots__ = ("rows_done", "rows_total", "created", "updated", "unchanged", "refused")
    ROWS_DONE_FIELD_NUMBER: _ClassVar[int]
    ROWS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    UPDATED_FIELD_NUMBER: _ClassVar[int]
    UNCHANGED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    rows_done: int
    rows_total: int
    created: int
    updated: int
    unchanged: int
    refused: int
    def __init__(self, rows_done: _Optional[int] = ..., rows_total: _Optional[int] = ..., created: _Optional[int] = ..., updated: _Optional[int] = ..., unchanged: _Optional[int] = ..., refused: _Optional[int] = ...) -> None: ...

class Job(_message.Message):
    __slots__ = ("product_import", "product_export", "stock_update", "price_update", "sales_report", "feed_sync", "reconciliation", "repricing", "search_reindex", "provider_settlement")
    PRODUCT_IMPORT_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_EXPORT_FIELD_NUMBER: _ClassVar[int]
    STOCK_UPDATE_FIELD_NUMBER: _ClassVar[int]
    PRICE_UPDATE_FIELD_NUMBER: _ClassVar[int]
    SALES_REPORT_FIELD_NUMBER: _ClassVar[int]
    FEED_SYNC_FIELD_NUMBER: _ClassVar[int]
    RECONCILIATION_FIELD_NUMBER: _ClassVar[int]
    REPRICING_FIELD_NUMBER: _ClassVar[int]
    SEARCH_REINDEX_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_SETTLEMENT_FIELD_NUMBER: _ClassVar[int]
    product_import: ProductImport
    product_export: ProductExport
    stock_update: StockUpdate
    price_update: PriceUpdate
    sales_report: SalesReport
    feed_sync: FeedSync
    reconciliation: Reconciliation
    repricing: Repricing
    search_reindex: SearchReindex
    provider_settlement: ProviderSettlement
    def __init__(self, product_import: _Optional[_Union[ProductImport, _Mapping]] = ..., product_export: _Optional[_Union[ProductExport, _Mapping]] = ..., stock_update: _Optional[_Union[StockUpdate, _Mapping]] = ..., price_update: _Optional[_Union[PriceUpdate, _Mapping]] = ..., sales_report: _Optional[_Union[SalesReport, _Mapping]] = ..., feed_sync: _Optional[_Union[FeedSync, _Mapping]] = ..., reconciliation: _Optional[_Union[Reconciliation, _Mapping]] = ..., repricing: _Optional[_Union[Repricing, _Mapping]] = ..., search_reindex: _Optional[_Union[SearchReindex, _Mapping]] = ..., provider_settlement: _Optional[_Union[ProviderSettlement, _Mapping]] = ...) -> None: ...

class ProductImport(_message.Message):
    __slots__ = ("file_id", "dry_run")
    FILE_ID_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    file_id: str
    dry_run: bool
    def __init__(self, file_id: _Optional[str] = ..., dry_run: _Optional[bool] = ...) -> None: ...

class ProductExport(_message.Message):
    __slots__ = ("format",)
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    format: _file_pb2.FileFormat
    def __init__(self, format: _Optional[_Union[_file_pb2.FileFormat, str]] = ...) -> None: ...

class StockUpdate(_message.Message):
    __slots__ = ("file_id", "dry_run")
    FILE_ID_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    file_id: str
    dry_run: bool
    def __init__(self, file_id: _Optional[str] = ..., dry_run: _Optional[bool] = ...) -> None: ...

class PriceUpdate(_message.Message):
    __slots__ = ("file_id", "dry_run")
    FILE_ID_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    file_id: str
    dry_run: bool
    def __init__(self, file_id: _Optional[str] = ..., dry_run: _Optional[bool] = ...) -> None: ...

class SalesReport(_message.Message):
    __slots__ = ("from_time", "to_time")
    FROM_TIME_FIELD_NUMBER: _ClassVar[int]
    TO_TIME_FIELD_NUMBER: _ClassVar[int]
    from_time: _timestamp_pb2.Timestamp
    to_time: _timestamp_pb2.Timestamp
    def __init__(self, from_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., to_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class FeedSync(_message.Message):
    __slots__ = ("url", "format", "dry_run")
    URL_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    url: str
    format: _file_pb2.FileFormat
    dry_run: bool
    def __init__(self, url: _Optional[str] = ..., format: _Optional[_Union[_file_pb2.FileFormat, str]] = ..., dry_run: _Optional[bool] = ...) -> None: ...

class Reconciliation(_message.Message):
    __slots__ = ("file_id", "from_time", "to_time")
    FILE_ID_FIELD_NUMBER: _ClassVar[int]
    FROM_TIME_FIELD_NUMBER: _ClassVar[int]
    TO_TIME_FIELD_NUMBER: _ClassVar[int]
    file_id: str
    from_time: _timestamp_pb2.Timestamp
    to_time: _timestamp_pb2.Timestamp
    def __init__(self, file_id: _Optional[str] = ..., from_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., to_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ProviderSettlement(_message.Message):
    __slots__ = ("provider", "first_date", "last_date")
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    FIRST_DATE_FIELD_NUMBER: _ClassVar[int]
    LAST_DATE_FIELD_NUMBER: _ClassVar[int]
    provider: str
    first_date: str
    last_date: str
    def __init__(self, provider: _Optional[str] = ..., first_date: _Optional[str] = ..., last_date: _Optional[str] = ...) -> None: ...

class SearchReindex(_message.Message):
    __slots__ = ("language",)
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    language: _search_service_pb2.SearchLanguage
    def __init__(self, language: _Optional[_Union[_search_service_pb2.SearchLanguage, str]] = ...) -> None: ...

class Repricing(_message.Message):
    __slots__ = ("all_products", "category_id", "products", "percent", "round_to_minor", "ending_minor", "rounding", "dry_run")
    ALL_PRODUCTS_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_ID_FIELD_NUMBER: _ClassVar[int]
    PRODUCTS_FIELD_NUMBER: _ClassVar[int]
    PERCENT_FIELD_NUMBER: _ClassVar[int]
    ROUND_TO_MINOR_FIELD_NUMBER: _ClassVar[int]
    ENDING_MINOR_FIELD_NUMBER: _ClassVar[int]
    ROUNDING_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    all_products: bool
    category_id: str
    products: NamedProducts
    percent: str
    round_to_minor: int
    ending_minor: int
    rounding: PriceRounding
    dry_run: bool
    def __init__(self, all_products: _Optional[bool] = ..., category_id: _Optional[str] = ..., products: _Optional[_Union[NamedProducts, _Mapping]] = ..., percent: _Optional[str] = ..., round_to_minor: _Optional[int] = ..., ending_minor: _Optional[int] = ..., rounding: _Optional[_Union[PriceRounding, str]] = ..., dry_run: _Optional[bool] = ...) -> None: ...

class NamedProducts(_message.Message):
    __slots__ = ("product_ids", "skus")
    PRODUCT_IDS_FIELD_NUMBER: _ClassVar[int]
    SKUS_FIELD_NUMBER: _ClassVar[int]
    product_ids: _containers.RepeatedScalarFieldContainer[str]
    skus: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, product_ids: _Optional[_Iterable[str]] = ..., skus: _Optional[_Iterable[str]] = ...) -> None: ...

class RowProblem(_message.Message):
    __slots__ = ("row_number", "reason", "message")
    ROW_NUMBER_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    row_number: int
    reason: str
    message: str
    def __init__(self, row_number: _Optional[int] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...
