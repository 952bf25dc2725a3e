"""LedgerService: decodes, calls, encodes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp

from mesh import pages
from mesh.database import Database
from mesh.refusals import InvalidInput, PageTokenInvalid
from mesh.seams import Clock
from svc_payment.ledger import audit, statements
from svc_payment.ledger.statements import Account, Entry, Line
from svc_payment.ledger.store import Balance
from titan.payment.v1 import ledger_pb2
from titan.payment.v1 import ledger_service_pb2 as pb
from titan.type.v1 import money_pb2

POSITION_VALUES = 3
"""The time that all pages are of, and the key of the last item."""
THE_BEGINNING = datetime(1, 1, 1, tzinfo=UTC)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class LedgerService:
    """Adds the ledger up from scratch, as it is and as it was."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    async def VerifyLedger(self, request: pb.VerifyLedgerRequest, context: Any) -> pb.VerifyLedgerResponse:
        """Refuses nothing of its own: a ledger that is out of balance is an answer."""
        found = await audit.verify(self._db)
        return pb.VerifyLedgerResponse(
            balanced=not found.problems,
            transfers=found.transfers,
            entries=2 * found.transfers,
            sealed_blocks=found.sealed_blocks,
            unsealed_transfers=found.unsealed_transfers,
            problems=found.problems[: audit.MAX_PROBLEMS],
        )

    async def GetTrialBalance(self, request: pb.GetTrialBalanceRequest, context: Any) -> pb.GetTrialBalanceResponse:
        """Refuses nothing of its own."""
        as_of = self._as_of(request)
        lines = await statements.trial_balance(self._db, as_of=as_of)
        return pb.GetTrialBalanceResponse(
            as_of_time=_stamp(as_of), lines=[_line(each) for each in lines], balanced=statements.balances(lines)
        )

    async def ListAccounts(self, request: pb.ListAccountsRequest, context: Any) -> pb.ListAccountsResponse:
        """Refuses with PAGE_TOKEN_INVALID."""
        bound = ("LedgerService.ListAccounts", request.as_of_time.ToJsonString(), request.code)
        as_of, after = self._as_of(request), None
        if position := _position(request.page_token, *bound):
            as_of, after = _moment(position[0]), (str(position[1]), _id(position[2]))
        size = pages.page_size(request.page_size)
        found = await statements.list_accounts(self._db, as_of=as_of, code=request.code, after=after, limit=size + 1)
        shown, token = found[:size], ""
        if len(found) > size:
            last: pages.Position = [_microseconds(as_of), shown[-1].code, str(shown[-1].account_id)]
            token = pages.encode(bound[0], last, *bound[1:])
        return pb.ListAccountsResponse(
            as_of_time=_stamp(as_of), accounts=[_account(each) for each in shown], next_page_token=token
        )

    async def ListAccountEntries(
        self, request: pb.ListAccountEntriesRequest, context: Any
    ) -> pb.ListAccountEntriesResponse:
        """Refuses with ACCOUNT_NOT_FOUND or PAGE_TOKEN_INVALID."""
        account_id = UUID(request.account_id)
        times = (request.from_time.ToJsonString(), request.as_of_time.ToJsonString())
        bound = ("LedgerService.ListAccountEntries", account_id, *times)
        begins_at = request.from_time.ToDatetime(tzinfo=UTC) if request.HasField("from_time") else THE_BEGINNING
        as_of, after = self._as_of(request), None
        if position := _position(request.page_token, *bound):
            as_of, after = _moment(position[0]), (_moment(position[1]), _number(position[2]))
        if begins_at > as_of:
            raise InvalidInput.of("from_time", "must not be after the end of the statement")
        size = pages.page_size(request.page_size)
        account, opening_minor, found = await statements.statement(
            self._db, account_id, begins_at=begins_at, as_of=as_of, after=after, limit=size + 1
        )
        shown, token = found[:size], ""
        if len(found) > size:
            last = [_microseconds(as_of), _microseconds(shown[-1].posted_at), shown[-1].seq]
            token = pages.encode(bound[0], last, *bound[1:])
        return pb.ListAccountEntriesResponse(
            account=_account(account),
            as_of_time=_stamp(as_of),
            opening_balance=_money(opening_minor, account.currency),
            entries=[_entry(each, account.currency) for each in shown],
            next_page_token=token,
        )

    def _as_of(
        self, request: pb.GetTrialBalanceRequest | pb.ListAccountsRequest | pb.ListAccountEntriesRequest
    ) -> datetime:
        """Return the time that is asked about.

        Raises:
            InvalidInput: Nobody knows what will be.
        """
        now = self._clock.now()
        as_of = request.as_of_time.ToDatetime(tzinfo=UTC) if request.HasField("as_of_time") else now
        if as_of > now:
            raise InvalidInput.of("as_of_time", "must not be in the future")
        return as_of


def _position(token: str, method: str, *filters: object) -> pages.Position | None:
    """Return the three values of a position, None for the first page; what they are is for their readers to check."""
    position = pages.decode(token, method, *filters)
    if position is not None and len(position) != POSITION_VALUES:
        raise PageTokenInvalid("the page token has another position")
    return position


def _microseconds(at: datetime) -> int:
    return (at - _EPOCH) // _MICROSECOND


def _moment(value: str | int | None) -> datetime:
    try:
        return _EPOCH + _number(value) * _MICROSECOND
    except OverflowError:
        raise PageTokenInvalid("the page token holds no time") from None


def _number(value: str | int | None) -> int:
    if not isinstance(value, int):
        raise PageTokenInvalid("the page token holds no number")
    return value


def _id(value: str | int | None) -> UUID:
    try:
        return UUID(str(value))
    except ValueError:
        raise PageTokenInvalid("the page token holds no id") from None


def _stamp(at: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp


def _money(minor_units: int, currency: str) -> money_pb2.Money:
    return money_pb2.Money(currency_code=currency, minor_units=minor_units)


def _sums(sums: Balance, currency: str) -> ledger_pb2.LedgerSums:
    return ledger_pb2.LedgerSums(
        debits=_money(sums.posted_debits, currency),
        credits=_money(sums.posted_credits, currency),
        balance=_money(sums.posted_credits - sums.posted_debits, currency),
        pending_debits=_money(sums.pending_debits, currency),
        pending_credits=_money(sums.pending_credits, currency),
    )


def _line(line: Line) -> ledger_pb2.TrialBalanceLine:
    return ledger_pb2.TrialBalanceLine(code=line.code, accounts=line.accounts, sums=_sums(line.sums, line.currency))


def _account(account: Account) -> ledger_pb2.LedgerAccount:
    return ledger_pb2.LedgerAccount(
        account_id=str(account.account_id),
        code=account.code,
        user_id=str(account.user_id or ""),
        seller_id=account.seller_id or "",
        open_time=_stamp(account.opened_at),
        sums=_sums(account.sums, account.currency),
    )


def _entry(entry: Entry, currency: str) -> ledger_pb2.LedgerEntry:
    return ledger_pb2.LedgerEntry(
        transfer_id=str(entry.transfer_id),
        group_id=str(entry.group_id),
        kind=entry.kind,
        order_id=str(entry.order_id or ""),
        counter_account_id=str(entry.counter_id),
        amount=_money(entry.amount_minor, currency),
        balance=_money(entry.balance_minor, currency),
        post_time=_stamp(entry.posted_at),
    )
