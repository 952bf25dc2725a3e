import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from titan.type.v1 import money_pb2 as _money_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class LedgerSums(_message.Message):
    __slots__ = ("debits", "credits", "balance", "pending_debits", "pending_credits")
    DEBITS_FIELD_NUMBER: _ClassVar[int]
    CREDITS_FIELD_NUMBER: _ClassVar[int]
    BALANCE_FIELD_NUMBER: _ClassVar[int]
    PENDING_DEBITS_FIELD_NUMBER: _ClassVar[int]
    PENDING_CREDITS_FIELD_NUMBER: _ClassVar[int]
    debits: _money_pb2.Money
    credits: _money_pb2.Money
    balance: _money_pb2.Money
    pending_debits: _money_pb2.Money
    pending_credits: _money_pb2.Money
    def __init__(self, debits: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., credits: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., balance: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., pending_debits: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., pending_credits: _Optional[_Union[_money_pb2.Money, _Mapping]] = ...) -> None: ...

class TrialBalanceLine(_message.Message):
    __slots__ = ("code", "accounts", "sums")
    CODE_FIELD_NUMBER: _ClassVar[int]
    ACCOUNTS_FIELD_NUMBER: _ClassVar[int]
    SUMS_FIELD_NUMBER: _ClassVar[int]
    code: str
    accounts: int
    sums: LedgerSums
    def __init__(self, code: _Optional[str] = ..., accounts: _Optional[int] = ..., sums: _Optional[_Union[LedgerSums, _Mapping]] = ...) -> None: ...

class LedgerAccount(_message.Message):
    __slots__ = ("account_id", "code", "user_id", "open_time", "sums", "seller_id")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    OPEN_TIME_FIELD_NUMBER: _ClassVar[int]
    SUMS_FIELD_NUMBER: _ClassVar[int]
    SELLER_ID_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    code: str
    user_id: str
    open_time: _timestamp_pb2.Timestamp
    sums: LedgerSums
    seller_id: str
    def __init__(self, account_id: _Optional[str] = ..., code: _Optional[str] = ..., user_id: _Optional[str] = ..., open_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., sums: _Optional[_Union[LedgerSums, _Mapping]] = ..., seller_id: _Optional[str] = ...) -> None: ...

class LedgerEntry(_message.Message):
    __slots__ = ("transfer_id", "group_id", "kind", "order_id", "counter_account_id", "amount", "balance", "post_time")
    TRANSFER_ID_FIELD_NUMBER: _ClassVar[int]
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    COUNTER_ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    BALANCE_FIELD_NUMBER: _ClassVar[int]
    POST_TIME_FIELD_NUMBER: _ClassVar[int]
    transfer_id: str
    group_id: str
    kind: str
    order_id: str
    counter_account_id: str
    amount: _money_pb2.Money
    balance: _money_pb2.Money
    post_time: _timestamp_pb2.Timestamp
    def __init__(self, transfer_id: _Optional[str] = ..., group_id: _Optional[str] = ..., kind: _Optional[str] = ..., order_id: _Optional[str] = ..., counter_account_id: _Optional[str] = ..., amount: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., balance: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., post_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
