from buf.validate import validate_pb2 as _validate_pb2
from google.api import annotations_pb2 as _annotations_pb2
from titan.auth.v1 import federation_pb2 as _federation_pb2
from titan.auth.v1 import second_factor_pb2 as _second_factor_pb2
from titan.options.v1 import options_pb2 as _options_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ListIdentityProvidersRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListIdentityProvidersResponse(_message.Message):
    __slots__ = ("providers",)
    PROVIDERS_FIELD_NUMBER: _ClassVar[int]
    providers: _containers.RepeatedCompositeFieldContainer[_federation_pb2.IdentityProvider]
    def __init__(self, providers: _Optional[_Iterable[_Union[_federation_pb2.IdentityProvider, _Mapping]]] = ...) -> None: ...

class StartFederatedSignInRequest(_message.Message):
    __slots__ = ("provider", "redirect_uri", "client_name")
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    REDIRECT_URI_FIELD_NUMBER: _ClassVar[int]
    CLIENT_NAME_FIELD_NUMBER: _ClassVar[int]
    provider: str
    redirect_uri: str
    client_name: str
    def __init__(self, provider: _Optional[str] = ..., redirect_uri: _Optional[str] = ..., client_name: _Optional[str] = ...) -> None: ...

class StartFederatedSignInResponse(_message.Message):
    __slots__ = ("flow",)
    FLOW_FIELD_NUMBER: _ClassVar[int]
    flow: _federation_pb2.FederatedFlow
    def __init__(self, flow: _Optional[_Union[_federation_pb2.FederatedFlow, _Mapping]] = ...) -> None: ...

class CompleteFederatedSignInRequest(_message.Message):
    __slots__ = ("answer",)
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    answer: _federation_pb2.FederatedAnswer
    def __init__(self, answer: _Optional[_Union[_federation_pb2.FederatedAnswer, _Mapping]] = ...) -> None: ...

class CompleteFederatedSignInResponse(_message.Message):
    __slots__ = ("access_token", "refresh_token", "expires_in_seconds", "user_id", "challenge", "second_factor_required")
    ACCESS_TOKEN_FIELD_NUMBER: _ClassVar[int]
    REFRESH_TOKEN_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_IN_SECONDS_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    CHALLENGE_FIELD_NUMBER: _ClassVar[int]
    SECOND_FACTOR_REQUIRED_FIELD_NUMBER: _ClassVar[int]
    access_token: str
    refresh_token: str
    expires_in_seconds: int
    user_id: str
    challenge: _second_factor_pb2.SecondFactorChallenge
    second_factor_required: bool
    def __init__(self, access_token: _Optional[str] = ..., refresh_token: _Optional[str] = ..., expires_in_seconds: _Optional[int] = ..., user_id: _Optional[str] = ..., challenge: _Optional[_Union[_second_factor_pb2.SecondFactorChallenge, _Mapping]] = ..., second_factor_required: _Optional[bool] = ...) -> None: ...

class ListFederatedIdentitiesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListFederatedIdentitiesResponse(_message.Message):
    __slots__ = ("identities",)
    IDENTITIES_FIELD_NUMBER: _ClassVar[int]
    identities: _containers.RepeatedCompositeFieldContainer[_federation_pb2.FederatedIdentity]
    def __init__(self, identities: _Optional[_Iterable[_Union[_federation_pb2.FederatedIdentity, _Mapping]]] = ...) -> None: ...

class StartIdentityLinkRequest(_message.Message):
    __slots__ = ("provider", "redirect_uri")
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    REDIRECT_URI_FIELD_NUMBER: _ClassVar[int]
    provider: str
    redirect_uri: str
    def __init__(self, provider: _Optional[str] = ..., redirect_uri: _Optional[str] = ...) -> None: ...

class StartIdentityLinkResponse(_message.Message):
    __slots__ = ("flow",)
    FLOW_FIELD_NUMBER: _ClassVar[int]
    flow: _federation_pb2.FederatedFlow
    def __init__(self, flow: _Optional[_Union[_federation_pb2.FederatedFlow, _Mapping]] = ...) -> None: ...

class CompleteIdentityLinkRequest(_message.Message):
    __slots__ = ("answer",)
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    answer: _federation_pb2.FederatedAnswer
    def __init__(self, answer: _Optional[_Union[_federation_pb2.FederatedAnswer, _Mapping]] = ...) -> None: ...

class CompleteIdentityLinkResponse(_message.Message):
    __slots__ = ("identity",)
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    identity: _federation_pb2.FederatedIdentity
    def __init__(self, identity: _Optional[_Union[_federation_pb2.FederatedIdentity, _Mapping]] = ...) -> None: ...

class DeleteFederatedIdentityRequest(_message.Message):
    __slots__ = ("identity_id",)
    IDENTITY_ID_FIELD_NUMBER: _ClassVar[int]
    identity_id: str
    def __init__(self, identity_id: _Optional[str] = ...) -> None: ...

class DeleteFederatedIdentityResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
