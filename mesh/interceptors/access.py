"""Enforces the access rule that the contract gives each method. Ownership of an object is the handler's matter.

What the policies grant a role beyond that rule, or only on a condition, stands in `call.powers` for the handler to ask
(`mesh.powers`). A caller without such a role passes as if there were no policies. A role that the token withholds, as
the session has seen no second factor, opens nothing; whoever misses it is told so.
"""

from __future__ import annotations

from collections.abc import Mapping

from google.protobuf.message import Message

from mesh.calls import Call
from mesh.contract import TICKET_FIELD, AccessKind, ContractProblem, Method
from mesh.identity import NOBODY
from mesh.interceptors.identity import TOKEN_KEY
from mesh.interceptors.stage import Check, Guard
from mesh.policies import NOBODY_MORE, Policies
from mesh.powers import SECOND_FACTOR_WANTED, Powers
from mesh.refusals import AccessDenied, SecondFactorRequired, Unauthenticated

EDGE_PACKAGE = "edge_http"
"""The package that speaks for people; it never calls a method that is for packages."""


class Access(Guard):
    """`callers` maps a gRPC service to the packages that the topology admits; None admits all but the edge.

    Without `policies` a role opens the methods that name it, and nobody's objects but the caller's own.
    """

    def __init__(self, callers: Mapping[str, frozenset[str]] | None = None, policies: Policies | None = None) -> None:
        self._callers = callers
        self._policies = policies

    def check_of(self, method: Method) -> Check | None:
        """Return the check of the method's access rule: of the package that calls, or of the user and the roles.

        Raises:
            ContractProblem: The method has no access rule.
        """
        rule = method.access
        if rule is None:
            raise ContractProblem([f"{method.full_name}: no access rule (option titan.options.v1.access)"])
        if rule.kind is AccessKind.PUBLIC:
            return None
        if rule.kind is AccessKind.SERVICE:
            return self._packages_only(method)
        return self._users_only(method, rule.roles)

    def _users_only(self, method: Method, roles: frozenset[str]) -> Check:
        def users_only(request: Message, call: Call) -> None:
            caller = call.caller or NOBODY
            if caller.user_id is None:
                raise Unauthenticated("sign in first")
            if roles and roles.isdisjoint(caller.roles):
                if not roles.isdisjoint(caller.withheld):
                    raise SecondFactorRequired(SECOND_FACTOR_WANTED)
                raise AccessDenied("a role is missing")

        policies = self._policies
        grant = NOBODY_MORE if policies is None else policies.grant(method.full_name)
        if policies is None or not grant.roles:
            return users_only

        def users_with_powers(request: Message, call: Call) -> None:
            users_only(request, call)
            caller = call.caller or NOBODY
            if not grant.roles.isdisjoint(caller.roles):
                call.powers = powers = Powers(policies, method.full_name, caller.roles)
                if roles and grant.always.isdisjoint(caller.roles):
                    powers.enter(call, getattr(request, TICKET_FIELD, ""))
            elif not grant.roles.isdisjoint(caller.withheld):
                call.powers = Powers(policies, method.full_name, caller.roles, withheld=True)

        return users_with_powers

    def _packages_only(self, method: Method) -> Check:
        admitted = None if self._callers is None else self._callers.get(method.service, frozenset())

        def packages_only(request: Message, call: Call) -> None:
            service = (call.caller or NOBODY).service
            if service is None or service == EDGE_PACKAGE or (admitted is not None and service not in admitted):
                raise AccessDenied("this method is not for this caller")
            # A package calls in its own name here; a user's token beside it would blur whose right is used.
            if TOKEN_KEY in call.metadata:
                raise AccessDenied("this method takes no user token")

        return packages_only
