from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from typing import ClassVar as _ClassVar

DESCRIPTOR: _descriptor.FileDescriptor

class ErrorReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ERROR_REASON_UNSPECIFIED: _ClassVar[ErrorReason]
    ERROR_REASON_CART_EMPTY: _ClassVar[ErrorReason]
    ERROR_REASON_CART_ALREADY_ORDERED: _ClassVar[ErrorReason]
    ERROR_REASON_SKU_NOT_SOLD: _ClassVar[ErrorReason]
    ERROR_REASON_PRICE_CHANGED: _ClassVar[ErrorReason]
    ERROR_REASON_TOTAL_TOO_LARGE: _ClassVar[ErrorReason]
    ERROR_REASON_CURRENCY_MIXED: _ClassVar[ErrorReason]
    ERROR_REASON_IMPORTER_REQUIRED: _ClassVar[ErrorReason]
    ERROR_REASON_ORDER_CANCELLED: _ClassVar[ErrorReason]
    ERROR_REASON_ORDER_NOT_FOUND: _ClassVar[ErrorReason]
    ERROR_REASON_ORDER_NOT_CANCELLABLE: _ClassVar[ErrorReason]
    ERROR_REASON_ORDER_NOT_SHIPPABLE: _ClassVar[ErrorReason]
    ERROR_REASON_ORDER_NOT_DELIVERABLE: _ClassVar[ErrorReason]
    ERROR_REASON_ORDER_NOT_REFUNDABLE: _ClassVar[ErrorReason]
    ERROR_REASON_REFUND_EXCEEDS_ORDER: _ClassVar[ErrorReason]
    ERROR_REASON_REFUND_AMOUNT_INVALID: _ClassVar[ErrorReason]
    ERROR_REASON_SUPPORT_REQUIRED: _ClassVar[ErrorReason]
    ERROR_REASON_TRACKING_CODE_CONFLICT: _ClassVar[ErrorReason]
ERROR_REASON_UNSPECIFIED: ErrorReason
ERROR_REASON_CART_EMPTY: ErrorReason
ERROR_REASON_CART_ALREADY_ORDERED: ErrorReason
ERROR_REASON_SKU_NOT_SOLD: ErrorReason
ERROR_REASON_PRICE_CHANGED: ErrorReason
ERROR_REASON_TOTAL_TOO_LARGE: ErrorReason
ERROR_REASON_CURRENCY_MIXED: ErrorReason
ERROR_REASON_IMPORTER_REQUIRED: ErrorReason
ERROR_REASON_ORDER_CANCELLED: ErrorReason
ERROR_REASON_ORDER_NOT_FOUND: ErrorReason
ERROR_REASON_ORDER_NOT_CANCELLABLE: ErrorReason
ERROR_REASON_ORDER_NOT_SHIPPABLE: ErrorReason
ERROR_REASON_ORDER_NOT_DELIVERABLE: ErrorReason
ERROR_REASON_ORDER_NOT_REFUNDABLE: ErrorReason
ERROR_REASON_REFUND_EXCEEDS_ORDER: ErrorReason
ERROR_REASON_REFUND_AMOUNT_INVALID: ErrorReason
ERROR_REASON_SUPPORT_REQUIRED: ErrorReason
ERROR_REASON_TRACKING_CODE_CONFLICT: ErrorReason
