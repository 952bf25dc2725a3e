from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from typing import ClassVar as _ClassVar

DESCRIPTOR: _descriptor.FileDescriptor

class ErrorReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ERROR_REASON_UNSPECIFIED: _ClassVar[ErrorReason]
    ERROR_REASON_OPERATION_NOT_FOUND: _ClassVar[ErrorReason]
    ERROR_REASON_OPERATION_NOT_RETRYABLE: _ClassVar[ErrorReason]
    ERROR_REASON_TOO_MANY_OPERATIONS: _ClassVar[ErrorReason]
    ERROR_REASON_FILE_NOT_FOUND: _ClassVar[ErrorReason]
    ERROR_REASON_FILE_OFFSET_MISMATCH: _ClassVar[ErrorReason]
    ERROR_REASON_FILE_TOO_LARGE: _ClassVar[ErrorReason]
    ERROR_REASON_FILE_SEALED: _ClassVar[ErrorReason]
    ERROR_REASON_FILE_UNREADABLE: _ClassVar[ErrorReason]
    ERROR_REASON_ROW_INVALID: _ClassVar[ErrorReason]
    ERROR_REASON_FEED_NOT_ALLOWED: _ClassVar[ErrorReason]
    ERROR_REASON_FEED_REFUSED: _ClassVar[ErrorReason]
    ERROR_REASON_REPORT_TOO_LARGE: _ClassVar[ErrorReason]
    ERROR_REASON_ROW_UNRECONCILED: _ClassVar[ErrorReason]
    ERROR_REASON_NOTHING_SELECTED: _ClassVar[ErrorReason]
    ERROR_REASON_SEARCH_DIFFERS: _ClassVar[ErrorReason]
ERROR_REASON_UNSPECIFIED: ErrorReason
ERROR_REASON_OPERATION_NOT_FOUND: ErrorReason
ERROR_REASON_OPERATION_NOT_RETRYABLE: ErrorReason
ERROR_REASON_TOO_MANY_OPERATIONS: ErrorReason
ERROR_REASON_FILE_NOT_FOUND: ErrorReason
ERROR_REASON_FILE_OFFSET_MISMATCH: ErrorReason
ERROR_REASON_FILE_TOO_LARGE: ErrorReason
ERROR_REASON_FILE_SEALED: ErrorReason
ERROR_REASON_FILE_UNREADABLE: ErrorReason
ERROR_REASON_ROW_INVALID: ErrorReason
ERROR_REASON_FEED_NOT_ALLOWED: ErrorReason
ERROR_REASON_FEED_REFUSED: ErrorReason
ERROR_REASON_REPORT_TOO_LARGE: ErrorReason
ERROR_REASON_ROW_UNRECONCILED: ErrorReason
ERROR_REASON_NOTHING_SELECTED: ErrorReason
ERROR_REASON_SEARCH_DIFFERS: ErrorReason
