from buf.validate import validate_pb2 as _validate_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class Warehouse(_message.Message):
    __slots__ = ("warehouse_id", "title", "priority")
    WAREHOUSE_ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    warehouse_id: str
    title: str
    priority: int
    def __init__(self, warehouse_id: _Optional[str] = ..., title: _Optional[str] = ..., priority: _Optional[int] = ...) -> None: ...
