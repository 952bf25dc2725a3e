from titan.auth.v1 import link_pb2 as _link_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SignInChange(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SIGN_IN_CHANGE_UNSPECIFIED: _ClassVar[SignInChange]
    SIGN_IN_CHANGE_PASSWORD_CHANGED: _ClassVar[SignInChange]
    SIGN_IN_CHANGE_PASSKEY_ADDED: _ClassVar[SignInChange]
    SIGN_IN_CHANGE_IDENTITY_LINKED: _ClassVar[SignInChange]
SIGN_IN_CHANGE_UNSPECIFIED: SignInChange
SIGN_IN_CHANGE_PASSWORD_CHANGED: SignInChange
SIGN_IN_CHANGE_PASSKEY_ADDED: SignInChange
SIGN_IN_CHANGE_IDENTITY_LINKED: SignInChange

class UserCreated(_message.Message):
    __slots__ = ("user_id", "guest")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    GUEST_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    guest: bool
    def __init__(self, user_id: _Optional[str] = ..., guest: _Optional[bool] = ...) -> None: ...

class UserRegistered(_message.Message):
    __slots__ = ("user_id",)
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    def __init__(self, user_id: _Optional[str] = ...) -> None: ...

class UserUpdated(_message.Message):
    __slots__ = ("user_id",)
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    def __init__(self, user_id: _Optional[str] = ...) -> None: ...

class UserErased(_message.Message):
    __slots__ = ("user_id",)
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    def __init__(self, user_id: _Optional[str] = ...) -> None: ...

class LinkRequested(_message.Message):
    __slots__ = ("link_id", "user_id", "purpose")
    LINK_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    PURPOSE_FIELD_NUMBER: _ClassVar[int]
    link_id: str
    user_id: str
    purpose: _link_pb2.LinkPurpose
    def __init__(self, link_id: _Optional[str] = ..., user_id: _Optional[str] = ..., purpose: _Optional[_Union[_link_pb2.LinkPurpose, str]] = ...) -> None: ...

class SignInChanged(_message.Message):
    __slots__ = ("notice_id", "user_id", "change", "provider")
    NOTICE_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    notice_id: str
    user_id: str
    change: SignInChange
    provider: str
    def __init__(self, notice_id: _Optional[str] = ..., user_id: _Optional[str] = ..., change: _Optional[_Union[SignInChange, str]] = ..., provider: _Optional[str] = ...) -> None: ...
