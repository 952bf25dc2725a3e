from google.api import annotations_pb2 as _annotations_pb2
from titan.options.v1 import options_pb2 as _options_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class VerifyLedgerRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class VerifyLedgerResponse(_message.Message):
    __slots__ = ("balanced", "transfers", "entries", "sealed_blocks", "unsealed_transfers", "problems")
    BALANCED_FIELD_NUMBER: _ClassVar[int]
    TRANSFERS_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    SEALED_BLOCKS_FIELD_NUMBER: _ClassVar[int]
    UNSEALED_TRANSFERS_FIELD_NUMBER: _ClassVar[int]
    PROBLEMS_FIELD_NUMBER: _ClassVar[int]
    balanced: bool
    transfers: int
    entries: int
    sealed_blocks: int
    unsealed_transfers: int
    problems: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, balanced: _Optional[bool] = ..., transfers: _Optional[int] = ..., entries: _Optional[int] = ..., sealed_blocks: _Optional[int] = ..., unsealed_transfers: _Optional[int] = ..., problems: _Optional[_Iterable[str]] = ...) -> None: ...
