from buf.validate import validate_pb2 as _validate_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class Category(_message.Message):
    __slots__ = ("category_id", "parent_category_id", "title", "path")
    CATEGORY_ID_FIELD_NUMBER: _ClassVar[int]
    PARENT_CATEGORY_ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    category_id: str
    parent_category_id: str
    title: str
    path: str
    def __init__(self, category_id: _Optional[str] = ..., parent_category_id: _Optional[str] = ..., title: _Optional[str] = ..., path: _Optional[str] = ...) -> None: ...
