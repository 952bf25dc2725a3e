from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from typing import ClassVar as _ClassVar

DESCRIPTOR: _descriptor.FileDescriptor

class ErrorReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ERROR_REASON_UNSPECIFIED: _ClassVar[ErrorReason]
    ERROR_REASON_CREDENTIALS_INVALID: _ClassVar[ErrorReason]
    ERROR_REASON_SIGN_IN_THROTTLED: _ClassVar[ErrorReason]
    ERROR_REASON_REFRESH_TOKEN_INVALID: _ClassVar[ErrorReason]
    ERROR_REASON_USER_NOT_FOUND: _ClassVar[ErrorReason]
    ERROR_REASON_EMAIL_TAKEN: _ClassVar[ErrorReason]
    ERROR_REASON_PASSWORD_TOO_WEAK: _ClassVar[ErrorReason]
    ERROR_REASON_ALREADY_REGISTERED: _ClassVar[ErrorReason]
    ERROR_REASON_USER_CHANGED: _ClassVar[ErrorReason]
    ERROR_REASON_TOO_MANY_ADDRESSES: _ClassVar[ErrorReason]
    ERROR_REASON_SESSION_NOT_FOUND: _ClassVar[ErrorReason]
    ERROR_REASON_CHALLENGE_INVALID: _ClassVar[ErrorReason]
    ERROR_REASON_CODE_INVALID: _ClassVar[ErrorReason]
    ERROR_REASON_SECOND_FACTOR_NOT_FOUND: _ClassVar[ErrorReason]
    ERROR_REASON_SECOND_FACTOR_ACTIVE: _ClassVar[ErrorReason]
    ERROR_REASON_NOT_REGISTERED: _ClassVar[ErrorReason]
    ERROR_REASON_LINK_INVALID: _ClassVar[ErrorReason]
    ERROR_REASON_EMAIL_VERIFIED: _ClassVar[ErrorReason]
ERROR_REASON_UNSPECIFIED: ErrorReason
ERROR_REASON_CREDENTIALS_INVALID: ErrorReason
ERROR_REASON_SIGN_IN_THROTTLED: ErrorReason
ERROR_REASON_REFRESH_TOKEN_INVALID: ErrorReason
ERROR_REASON_USER_NOT_FOUND: ErrorReason
ERROR_REASON_EMAIL_TAKEN: ErrorReason
ERROR_REASON_PASSWORD_TOO_WEAK: ErrorReason
ERROR_REASON_ALREADY_REGISTERED: ErrorReason
ERROR_REASON_USER_CHANGED: ErrorReason
ERROR_REASON_TOO_MANY_ADDRESSES: ErrorReason
ERROR_REASON_SESSION_NOT_FOUND: ErrorReason
ERROR_REASON_CHALLENGE_INVALID: ErrorReason
ERROR_REASON_CODE_INVALID: ErrorReason
ERROR_REASON_SECOND_FACTOR_NOT_FOUND: ErrorReason
ERROR_REASON_SECOND_FACTOR_ACTIVE: ErrorReason
ERROR_REASON_NOT_REGISTERED: ErrorReason
ERROR_REASON_LINK_INVALID: ErrorReason
ERROR_REASON_EMAIL_VERIFIED: ErrorReason
