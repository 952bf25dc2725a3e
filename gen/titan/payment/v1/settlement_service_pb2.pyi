from buf.validate import validate_pb2 as _validate_pb2
from google.api import annotations_pb2 as _annotations_pb2
from titan.options.v1 import options_pb2 as _options_pb2
from titan.payment.v1 import settlement_pb2 as _settlement_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SettleDayRequest(_message.Message):
    __slots__ = ("provider", "date")
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    DATE_FIELD_NUMBER: _ClassVar[int]
    provider: str
    date: str
    def __init__(self, provider: _Optional[str] = ..., date: _Optional[str] = ...) -> None: ...

class SettleDayResponse(_message.Message):
    __slots__ = ("settlement",)
    SETTLEMENT_FIELD_NUMBER: _ClassVar[int]
    settlement: _settlement_pb2.Settlement
    def __init__(self, settlement: _Optional[_Union[_settlement_pb2.Settlement, _Mapping]] = ...) -> None: ...

class ResettleDayRequest(_message.Message):
    __slots__ = ("provider", "date")
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    DATE_FIELD_NUMBER: _ClassVar[int]
    provider: str
    date: str
    def __init__(self, provider: _Optional[str] = ..., date: _Optional[str] = ...) -> None: ...

class ResettleDayResponse(_message.Message):
    __slots__ = ("settlement",)
    SETTLEMENT_FIELD_NUMBER: _ClassVar[int]
    settlement: _settlement_pb2.Settlement
    def __init__(self, settlement: _Optional[_Union[_settlement_pb2.Settlement, _Mapping]] = ...) -> None: ...

class GetSettlementRequest(_message.Message):
    __slots__ = ("provider", "date")
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    DATE_FIELD_NUMBER: _ClassVar[int]
    provider: str
    date: str
    def __init__(self, provider: _Optional[str] = ..., date: _Optional[str] = ...) -> None: ...

class GetSettlementResponse(_message.Message):
    __slots__ = ("settlement",)
    SETTLEMENT_FIELD_NUMBER: _ClassVar[int]
    settlement: _settlement_pb2.Settlement
    def __init__(self, settlement: _Optional[_Union[_settlement_pb2.Settlement, _Mapping]] = ...) -> None: ...

class ListSettlementsRequest(_message.Message):
    __slots__ = ("provider", "page_size", "page_token")
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    provider: str
    page_size: int
    page_token: str
    def __init__(self, provider: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListSettlementsResponse(_message.Message):
    __slots__ = ("settlements", "next_page_token")
    SETTLEMENTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    settlements: _containers.RepeatedCompositeFieldContainer[_settlement_pb2.Settlement]
    next_page_token: str
    def __init__(self, settlements: _Optional[_Iterable[_Union[_settlement_pb2.Settlement, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ListSettlementDifferencesRequest(_message.Message):
    __slots__ = ("provider", "date", "page_size", "page_token")
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    DATE_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    provider: str
    date: str
    page_size: int
    page_token: str
    def __init__(self, provider: _Optional[str] = ..., date: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListSettlementDifferencesResponse(_message.Message):
    __slots__ = ("differences", "next_page_token")
    DIFFERENCES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    differences: _containers.RepeatedCompositeFieldContainer[_settlement_pb2.SettlementDifference]
    next_page_token: str
    def __init__(self, differences: _Optional[_Iterable[_Union[_settlement_pb2.SettlementDifference, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...
