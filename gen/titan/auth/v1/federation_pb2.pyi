import datetime

from buf.validate import validate_pb2 as _validate_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class IdentityProvider(_message.Message):
    __slots__ = ("provider", "display_name")
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    provider: str
    display_name: str
    def __init__(self, provider: _Optional[str] = ..., display_name: _Optional[str] = ...) -> None: ...

class FederatedIdentity(_message.Message):
    __slots__ = ("identity_id", "provider", "link_time", "last_use_time")
    IDENTITY_ID_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    LINK_TIME_FIELD_NUMBER: _ClassVar[int]
    LAST_USE_TIME_FIELD_NUMBER: _ClassVar[int]
    identity_id: str
    provider: str
    link_time: _timestamp_pb2.Timestamp
    last_use_time: _timestamp_pb2.Timestamp
    def __init__(self, identity_id: _Optional[str] = ..., provider: _Optional[str] = ..., link_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_use_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class FederatedFlow(_message.Message):
    __slots__ = ("authorization_url", "flow_token", "expires_in_seconds")
    AUTHORIZATION_URL_FIELD_NUMBER: _ClassVar[int]
    FLOW_TOKEN_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_IN_SECONDS_FIELD_NUMBER: _ClassVar[int]
    authorization_url: str
    flow_token: str
    expires_in_seconds: int
    def __init__(self, authorization_url: _Optional[str] = ..., flow_token: _Optional[str] = ..., expires_in_seconds: _Optional[int] = ...) -> None: ...

class FederatedAnswer(_message.Message):
    __slots__ = ("flow_token", "state", "code", "issuer")
    FLOW_TOKEN_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    ISSUER_FIELD_NUMBER: _ClassVar[int]
    flow_token: str
    state: str
    code: str
    issuer: str
    def __init__(self, flow_token: _Optional[str] = ..., state: _Optional[str] = ..., code: _Optional[str] = ..., issuer: _Optional[str] = ...) -> None: ...
