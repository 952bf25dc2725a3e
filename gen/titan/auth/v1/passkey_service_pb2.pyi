from buf.validate import validate_pb2 as _validate_pb2
from google.api import annotations_pb2 as _annotations_pb2
from titan.auth.v1 import passkey_pb2 as _passkey_pb2
from titan.options.v1 import options_pb2 as _options_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class StartPasskeySignInRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StartPasskeySignInResponse(_message.Message):
    __slots__ = ("options",)
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    options: _passkey_pb2.PasskeyOptions
    def __init__(self, options: _Optional[_Union[_passkey_pb2.PasskeyOptions, _Mapping]] = ...) -> None: ...

class CompletePasskeySignInRequest(_message.Message):
    __slots__ = ("credential_json", "client_name")
    CREDENTIAL_JSON_FIELD_NUMBER: _ClassVar[int]
    CLIENT_NAME_FIELD_NUMBER: _ClassVar[int]
    credential_json: str
    client_name: str
    def __init__(self, credential_json: _Optional[str] = ..., client_name: _Optional[str] = ...) -> None: ...

class CompletePasskeySignInResponse(_message.Message):
    __slots__ = ("access_token", "refresh_token", "expires_in_seconds", "user_id")
    ACCESS_TOKEN_FIELD_NUMBER: _ClassVar[int]
    REFRESH_TOKEN_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_IN_SECONDS_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    access_token: str
    refresh_token: str
    expires_in_seconds: int
    user_id: str
    def __init__(self, access_token: _Optional[str] = ..., refresh_token: _Optional[str] = ..., expires_in_seconds: _Optional[int] = ..., user_id: _Optional[str] = ...) -> None: ...

class StartPasskeyRegistrationRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StartPasskeyRegistrationResponse(_message.Message):
    __slots__ = ("options",)
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    options: _passkey_pb2.PasskeyOptions
    def __init__(self, options: _Optional[_Union[_passkey_pb2.PasskeyOptions, _Mapping]] = ...) -> None: ...

class CreatePasskeyRequest(_message.Message):
    __slots__ = ("credential_json", "name")
    CREDENTIAL_JSON_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    credential_json: str
    name: str
    def __init__(self, credential_json: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class CreatePasskeyResponse(_message.Message):
    __slots__ = ("passkey",)
    PASSKEY_FIELD_NUMBER: _ClassVar[int]
    passkey: _passkey_pb2.Passkey
    def __init__(self, passkey: _Optional[_Union[_passkey_pb2.Passkey, _Mapping]] = ...) -> None: ...

class ListPasskeysRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListPasskeysResponse(_message.Message):
    __slots__ = ("passkeys",)
    PASSKEYS_FIELD_NUMBER: _ClassVar[int]
    passkeys: _containers.RepeatedCompositeFieldContainer[_passkey_pb2.Passkey]
    def __init__(self, passkeys: _Optional[_Iterable[_Union[_passkey_pb2.Passkey, _Mapping]]] = ...) -> None: ...

class DeletePasskeyRequest(_message.Message):
    __slots__ = ("passkey_id",)
    PASSKEY_ID_FIELD_NUMBER: _ClassVar[int]
    passkey_id: str
    def __init__(self, passkey_id: _Optional[str] = ...) -> None: ...

class DeletePasskeyResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
