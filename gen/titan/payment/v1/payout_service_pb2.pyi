from buf.validate import validate_pb2 as _validate_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.api import httpbody_pb2 as _httpbody_pb2
from titan.options.v1 import options_pb2 as _options_pb2
from titan.payment.v1 import payout_pb2 as _payout_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CreatePayoutRequest(_message.Message):
    __slots__ = ("seller_id", "currency_code", "period")
    SELLER_ID_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_CODE_FIELD_NUMBER: _ClassVar[int]
    PERIOD_FIELD_NUMBER: _ClassVar[int]
    seller_id: str
    currency_code: str
    period: str
    def __init__(self, seller_id: _Optional[str] = ..., currency_code: _Optional[str] = ..., period: _Optional[str] = ...) -> None: ...

class CreatePayoutResponse(_message.Message):
    __slots__ = ("payout",)
    PAYOUT_FIELD_NUMBER: _ClassVar[int]
    payout: _payout_pb2.Payout
    def __init__(self, payout: _Optional[_Union[_payout_pb2.Payout, _Mapping]] = ...) -> None: ...

class CreatePayoutBatchRequest(_message.Message):
    __slots__ = ("period", "request_id")
    PERIOD_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    period: str
    request_id: str
    def __init__(self, period: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class CreatePayoutBatchResponse(_message.Message):
    __slots__ = ("batch",)
    BATCH_FIELD_NUMBER: _ClassVar[int]
    batch: _payout_pb2.PayoutBatch
    def __init__(self, batch: _Optional[_Union[_payout_pb2.PayoutBatch, _Mapping]] = ...) -> None: ...

class ReadBankFileRequest(_message.Message):
    __slots__ = ("batch_id",)
    BATCH_ID_FIELD_NUMBER: _ClassVar[int]
    batch_id: str
    def __init__(self, batch_id: _Optional[str] = ...) -> None: ...

class ReadBankFileResponse(_message.Message):
    __slots__ = ("body",)
    BODY_FIELD_NUMBER: _ClassVar[int]
    body: _httpbody_pb2.HttpBody
    def __init__(self, body: _Optional[_Union[_httpbody_pb2.HttpBody, _Mapping]] = ...) -> None: ...

class SettlePayoutRequest(_message.Message):
    __slots__ = ("payout_id", "status", "bank_reference")
    PAYOUT_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    BANK_REFERENCE_FIELD_NUMBER: _ClassVar[int]
    payout_id: str
    status: _payout_pb2.PayoutStatus
    bank_reference: str
    def __init__(self, payout_id: _Optional[str] = ..., status: _Optional[_Union[_payout_pb2.PayoutStatus, str]] = ..., bank_reference: _Optional[str] = ...) -> None: ...

class SettlePayoutResponse(_message.Message):
    __slots__ = ("payout",)
    PAYOUT_FIELD_NUMBER: _ClassVar[int]
    payout: _payout_pb2.Payout
    def __init__(self, payout: _Optional[_Union[_payout_pb2.Payout, _Mapping]] = ...) -> None: ...

class ListPayableSellersRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListPayableSellersResponse(_message.Message):
    __slots__ = ("sellers", "next_page_token")
    SELLERS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    sellers: _containers.RepeatedCompositeFieldContainer[_payout_pb2.PayableSeller]
    next_page_token: str
    def __init__(self, sellers: _Optional[_Iterable[_Union[_payout_pb2.PayableSeller, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ListPayoutsRequest(_message.Message):
    __slots__ = ("seller_id", "page_size", "page_token")
    SELLER_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    seller_id: str
    page_size: int
    page_token: str
    def __init__(self, seller_id: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListPayoutsResponse(_message.Message):
    __slots__ = ("payouts", "next_page_token")
    PAYOUTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    payouts: _containers.RepeatedCompositeFieldContainer[_payout_pb2.Payout]
    next_page_token: str
    def __init__(self, payouts: _Optional[_Iterable[_Union[_payout_pb2.Payout, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ListPayoutLinesRequest(_message.Message):
    __slots__ = ("payout_id", "page_size", "page_token")
    PAYOUT_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    payout_id: str
    page_size: int
    page_token: str
    def __init__(self, payout_id: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListPayoutLinesResponse(_message.Message):
    __slots__ = ("lines", "next_page_token")
    LINES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    lines: _containers.RepeatedCompositeFieldContainer[_payout_pb2.PayoutLine]
    next_page_token: str
    def __init__(self, lines: _Optional[_Iterable[_Union[_payout_pb2.PayoutLine, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...
