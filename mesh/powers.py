"""What the roles of a caller add to what everybody may do with their own, as handlers ask for it.

`mesh.interceptors.access` puts the `Powers` of a caller with such a role into the call. A handler asks `reach` before
it looks for an object, and keeps to the owner in there; it never looks at roles itself. Whoever has no powers reaches
their own, without a question to anybody.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

from mesh import calls
from mesh.calls import Call
from mesh.contract import TICKET_FIELD
from mesh.identity import caller_of
from mesh.policies import AMOUNT, Policies
from mesh.refusals import AccessDenied, Refusal, SecondFactorRequired, TicketRequired

SECOND_FACTOR_WANTED = "your role waits for a second factor: enrol one, and sign in with it"
_ANY_TICKET = "0"


class Powers:
    """What the roles of one call's user add to what everybody may do with their own.

    Where they are `withheld` for want of a second factor they add nothing but the word of it.
    """

    __slots__ = ("_grant", "_method", "_policies", "_roles", "_withheld")

    def __init__(self, policies: Policies, method: str, roles: frozenset[str], *, withheld: bool = False) -> None:
        self._policies = policies
        self._method = method
        self._roles = roles
        self._grant = policies.grant(method)
        self._withheld = withheld

    def reach(self, *, own: bool, ticket_id: str) -> bool:
        """Return whether the call may be about what belongs to its user, or to somebody else."""
        if not self._grant.always.isdisjoint(self._roles):
            return True
        context = {TICKET_FIELD: ticket_id} if ticket_id else {}
        return self._policies.permits(self._method, self._roles, own=own, context=context)

    def amount(self, *, own: bool, currency: str, amount_minor: int) -> bool:
        """Return whether the call may move so much."""
        action = self._method + AMOUNT
        if not self._policies.grant(action).always.isdisjoint(self._roles):
            return True
        context = {"currency": currency, "amount_minor": amount_minor}
        return self._policies.permits(action, self._roles, own=own, context=context)

    def enter(self, call: Call, ticket_id: str) -> None:
        """Let the user into a method for roles, where nothing but a policy that asks admits them.

        Whose object it is about is for the handler to ask (`may_read_of`): here it passes as the user's own.

        Raises:
            TicketRequired: A ticket would admit them.
            AccessDenied: Nothing does.
        """
        if not self.reach(own=True, ticket_id=ticket_id):
            raise self.want_of_ticket() or AccessDenied("a role is missing")
        call.ticket_id = ticket_id

    def wanting(self, ticket_id: str) -> Refusal | None:
        """Return what to tell somebody who finds nothing, and might with what is missing; None where nothing is."""
        if self._withheld:
            return SecondFactorRequired(SECOND_FACTOR_WANTED)
        return None if ticket_id else self.want_of_ticket()

    def want_of_ticket(self) -> TicketRequired | None:
        """Return what to tell somebody whom a ticket would let do it; None where it would not help."""
        if not self.reach(own=False, ticket_id=_ANY_TICKET):
            return None
        return TicketRequired("name the ticket that this is done for (ticket_id, over HTTP the header X-Ticket-Id)")


@dataclass(frozen=True, slots=True)
class Reach:
    """Whose objects the current call may be about.

    `owner_id` is the caller's own, or None for anybody's; `wanting` what to tell a caller who finds nothing, and would
    with what is missing.
    """

    user_id: UUID
    anybodys: bool = False
    wanting: Refusal | None = None

    @property
    def owner_id(self) -> UUID | None:
        """The owner that an object has to have; None for whoever."""
        return None if self.anybodys else self.user_id

    @contextmanager
    def hiding(self, hidden: type[Refusal]) -> Iterator[UUID | None]:
        """Give the owner to look for. What is hidden from the caller is not there, or wants what the caller lacks.

        Raises:
            Refusal: `wanting` instead of `hidden`, whether the object is there or not.
        """
        try:
            yield self.owner_id
        except hidden:
            if self.wanting is not None:
                raise self.wanting from None
            raise


def reach(ticket_id: str = "") -> Reach:
    """Return whose objects the current call may be about: the caller's own, or anybody's, as the policies have it.

    Raises:
        Unauthenticated: Nobody is signed in.
    """
    user_id, call = caller_of().require_user_id(), calls.current()
    powers = None if call is None else call.powers
    if call is None or powers is None:
        return Reach(user_id)
    if powers.reach(own=False, ticket_id=ticket_id):
        call.ticket_id = ticket_id
        return Reach(user_id, anybodys=True)
    return Reach(user_id, wanting=powers.wanting(ticket_id))


def may_read_of(owner_id: str) -> bool:
    """Return whether the current call may be about what belongs to a user of this id, such as a seller."""
    user_id, call = caller_of().require_user_id(), calls.current()
    powers = None if call is None else call.powers
    return powers is not None and powers.reach(own=owner_id == str(user_id), ticket_id="")


def may_move(owner_id: UUID, currency: str, amount_minor: int) -> bool:
    """Return whether the caller's roles let the current call move so much of what belongs to somebody."""
    user_id, call = caller_of().require_user_id(), calls.current()
    powers = None if call is None else call.powers
    return powers is not None and powers.amount(own=owner_id == user_id, currency=currency, amount_minor=amount_minor)
