from google.protobuf import descriptor_pb2 as _descriptor_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor
ACCESS_FIELD_NUMBER: _ClassVar[int]
access: _descriptor.FieldDescriptor
DEADLINE_FIELD_NUMBER: _ClassVar[int]
deadline: _descriptor.FieldDescriptor
HEADER_FIELD_NUMBER: _ClassVar[int]
header: _descriptor.FieldDescriptor

class Access(_message.Message):
    __slots__ = ("public", "customer", "roles", "service")
    PUBLIC_FIELD_NUMBER: _ClassVar[int]
    CUSTOMER_FIELD_NUMBER: _ClassVar[int]
    ROLES_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    public: bool
    customer: bool
    roles: _containers.RepeatedScalarFieldContainer[str]
    service: bool
    def __init__(self, public: _Optional[bool] = ..., customer: _Optional[bool] = ..., roles: _Optional[_Iterable[str]] = ..., service: _Optional[bool] = ...) -> None: ...

class Deadline(_message.Message):
    __slots__ = ("default_ms", "cap_ms")
    DEFAULT_MS_FIELD_NUMBER: _ClassVar[int]
    CAP_MS_FIELD_NUMBER: _ClassVar[int]
    default_ms: int
    cap_ms: int
    def __init__(self, default_ms: _Optional[int] = ..., cap_ms: _Optional[int] = ...) -> None: ...
