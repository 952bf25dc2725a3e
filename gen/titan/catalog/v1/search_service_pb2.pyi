from buf.validate import validate_pb2 as _validate_pb2
from google.api import annotations_pb2 as _annotations_pb2
from titan.catalog.v1 import product_pb2 as _product_pb2
from titan.options.v1 import options_pb2 as _options_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SearchLanguage(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SEARCH_LANGUAGE_UNSPECIFIED: _ClassVar[SearchLanguage]
    SEARCH_LANGUAGE_SIMPLE: _ClassVar[SearchLanguage]
    SEARCH_LANGUAGE_ENGLISH: _ClassVar[SearchLanguage]
    SEARCH_LANGUAGE_GERMAN: _ClassVar[SearchLanguage]
    SEARCH_LANGUAGE_FRENCH: _ClassVar[SearchLanguage]
    SEARCH_LANGUAGE_SPANISH: _ClassVar[SearchLanguage]
    SEARCH_LANGUAGE_ITALIAN: _ClassVar[SearchLanguage]
    SEARCH_LANGUAGE_DUTCH: _ClassVar[SearchLanguage]
    SEARCH_LANGUAGE_PORTUGUESE: _ClassVar[SearchLanguage]
SEARCH_LANGUAGE_UNSPECIFIED: SearchLanguage
SEARCH_LANGUAGE_SIMPLE: SearchLanguage
SEARCH_LANGUAGE_ENGLISH: SearchLanguage
SEARCH_LANGUAGE_GERMAN: SearchLanguage
SEARCH_LANGUAGE_FRENCH: SearchLanguage
SEARCH_LANGUAGE_SPANISH: SearchLanguage
SEARCH_LANGUAGE_ITALIAN: SearchLanguage
SEARCH_LANGUAGE_DUTCH: SearchLanguage
SEARCH_LANGUAGE_PORTUGUESE: SearchLanguage

class ReindexProductsRequest(_message.Message):
    __slots__ = ("language", "page_size", "page_token")
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    language: SearchLanguage
    page_size: int
    page_token: str
    def __init__(self, language: _Optional[_Union[SearchLanguage, str]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ReindexProductsResponse(_message.Message):
    __slots__ = ("products", "rewritten", "next_page_token")
    PRODUCTS_FIELD_NUMBER: _ClassVar[int]
    REWRITTEN_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    products: int
    rewritten: int
    next_page_token: str
    def __init__(self, products: _Optional[int] = ..., rewritten: _Optional[int] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class DigestSearchRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class DigestSearchResponse(_message.Message):
    __slots__ = ("products", "stored_digest", "expected_digest", "next_page_token")
    PRODUCTS_FIELD_NUMBER: _ClassVar[int]
    STORED_DIGEST_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_DIGEST_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    products: int
    stored_digest: bytes
    expected_digest: bytes
    next_page_token: str
    def __init__(self, products: _Optional[int] = ..., stored_digest: _Optional[bytes] = ..., expected_digest: _Optional[bytes] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class SearchProductsRequest(_message.Message):
    __slots__ = ("query", "page_size", "page_token")
    QUERY_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    query: str
    page_size: int
    page_token: str
    def __init__(self, query: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class SearchProductsResponse(_message.Message):
    __slots__ = ("products", "next_page_token")
    PRODUCTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    products: _containers.RepeatedCompositeFieldContainer[_product_pb2.Product]
    next_page_token: str
    def __init__(self, products: _Optional[_Iterable[_Union[_product_pb2.Product, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...
