import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class LinkPurpose(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LINK_PURPOSE_UNSPECIFIED: _ClassVar[LinkPurpose]
    LINK_PURPOSE_EMAIL_VERIFICATION: _ClassVar[LinkPurpose]
    LINK_PURPOSE_PASSWORD_RESET: _ClassVar[LinkPurpose]
LINK_PURPOSE_UNSPECIFIED: LinkPurpose
LINK_PURPOSE_EMAIL_VERIFICATION: LinkPurpose
LINK_PURPOSE_PASSWORD_RESET: LinkPurpose

class Link(_message.Message):
    __slots__ = ("purpose", "email", "token", "expire_time")
    PURPOSE_FIELD_NUMBER: _ClassVar[int]
    EMAIL_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    purpose: LinkPurpose
    email: str
    token: str
    expire_time: _timestamp_pb2.Timestamp
    def __init__(self, purpose: _Optional[_Union[LinkPurpose, str]] = ..., email: _Optional[str] = ..., token: _Optional[str] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
