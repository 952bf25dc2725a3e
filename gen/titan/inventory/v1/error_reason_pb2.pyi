from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from typing import ClassVar as _ClassVar

DESCRIPTOR: _descriptor.FileDescriptor

class ErrorReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ERROR_REASON_UNSPECIFIED: _ClassVar[ErrorReason]
    ERROR_REASON_OUT_OF_STOCK: _ClassVar[ErrorReason]
    ERROR_REASON_RESERVATION_RELEASED: _ClassVar[ErrorReason]
    ERROR_REASON_RESERVATION_CONFLICT: _ClassVar[ErrorReason]
    ERROR_REASON_RESERVATION_SHIPPED: _ClassVar[ErrorReason]
    ERROR_REASON_RESERVATION_NOT_FOUND: _ClassVar[ErrorReason]
    ERROR_REASON_RESTOCK_TOO_LARGE: _ClassVar[ErrorReason]
    ERROR_REASON_STOCK_BELOW_RESERVED: _ClassVar[ErrorReason]
    ERROR_REASON_STOCK_TOO_LARGE: _ClassVar[ErrorReason]
    ERROR_REASON_WAREHOUSE_NOT_FOUND: _ClassVar[ErrorReason]
    ERROR_REASON_WAREHOUSE_EXISTS: _ClassVar[ErrorReason]
    ERROR_REASON_TOO_MANY_WAREHOUSES: _ClassVar[ErrorReason]
ERROR_REASON_UNSPECIFIED: ErrorReason
ERROR_REASON_OUT_OF_STOCK: ErrorReason
ERROR_REASON_RESERVATION_RELEASED: ErrorReason
ERROR_REASON_RESERVATION_CONFLICT: ErrorReason
ERROR_REASON_RESERVATION_SHIPPED: ErrorReason
ERROR_REASON_RESERVATION_NOT_FOUND: ErrorReason
ERROR_REASON_RESTOCK_TOO_LARGE: ErrorReason
ERROR_REASON_STOCK_BELOW_RESERVED: ErrorReason
ERROR_REASON_STOCK_TOO_LARGE: ErrorReason
ERROR_REASON_WAREHOUSE_NOT_FOUND: ErrorReason
ERROR_REASON_WAREHOUSE_EXISTS: ErrorReason
ERROR_REASON_TOO_MANY_WAREHOUSES: ErrorReason
