import datetime

from buf.validate import validate_pb2 as _validate_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SecondFactor(_message.Message):
    __slots__ = ("active", "confirm_time", "recovery_codes_left")
    ACTIVE_FIELD_NUMBER: _ClassVar[int]
    CONFIRM_TIME_FIELD_NUMBER: _ClassVar[int]
    RECOVERY_CODES_LEFT_FIELD_NUMBER: _ClassVar[int]
    active: bool
    confirm_time: _timestamp_pb2.Timestamp
    recovery_codes_left: int
    def __init__(self, active: _Optional[bool] = ..., confirm_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., recovery_codes_left: _Optional[int] = ...) -> None: ...

class SecondFactorChallenge(_message.Message):
    __slots__ = ("challenge_token", "expires_in_seconds")
    CHALLENGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_IN_SECONDS_FIELD_NUMBER: _ClassVar[int]
    challenge_token: str
    expires_in_seconds: int
    def __init__(self, challenge_token: _Optional[str] = ..., expires_in_seconds: _Optional[int] = ...) -> None: ...

class SecondFactorProof(_message.Message):
    __slots__ = ("code", "recovery_code")
    CODE_FIELD_NUMBER: _ClassVar[int]
    RECOVERY_CODE_FIELD_NUMBER: _ClassVar[int]
    code: str
    recovery_code: str
    def __init__(self, code: _Optional[str] = ..., recovery_code: _Optional[str] = ...) -> None: ...
