from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from typing import ClassVar as _ClassVar

DESCRIPTOR: _descriptor.FileDescriptor

class ErrorReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ERROR_REASON_UNSPECIFIED: _ClassVar[ErrorReason]
    ERROR_REASON_PRODUCT_NOT_FOUND: _ClassVar[ErrorReason]
    ERROR_REASON_PRODUCT_CHANGED: _ClassVar[ErrorReason]
    ERROR_REASON_SKU_TAKEN: _ClassVar[ErrorReason]
    ERROR_REASON_CATEGORY_NOT_FOUND: _ClassVar[ErrorReason]
    ERROR_REASON_CATEGORY_EXISTS: _ClassVar[ErrorReason]
    ERROR_REASON_CATEGORY_TOO_DEEP: _ClassVar[ErrorReason]
    ERROR_REASON_PRICE_INVALID: _ClassVar[ErrorReason]
ERROR_REASON_UNSPECIFIED: ErrorReason
ERROR_REASON_PRODUCT_NOT_FOUND: ErrorReason
ERROR_REASON_PRODUCT_CHANGED: ErrorReason
ERROR_REASON_SKU_TAKEN: ErrorReason
ERROR_REASON_CATEGORY_NOT_FOUND: ErrorReason
ERROR_REASON_CATEGORY_EXISTS: ErrorReason
ERROR_REASON_CATEGORY_TOO_DEEP: ErrorReason
ERROR_REASON_PRICE_INVALID: ErrorReason
