"""Enforces the access rule that the contract gives each method. Ownership of an object is the handler's matter."""

from __future__ import annotations

from collections.abc import Mapping

from google.protobuf.message import Message

from mesh.calls import Call
from mesh.contract import AccessKind, ContractProblem, Method
from mesh.identity import NOBODY
from mesh.interceptors.identity import TOKEN_KEY
from mesh.interceptors.stage import Check, Guard
from mesh.refusals import AccessDenied, Unauthenticated

EDGE_PACKAGE = "edge_http"
"""The package that speaks for people; it never calls a method that is for packages."""


class Access(Guard):
    """`callers` maps a gRPC service to the packages that the topology admits; None admits all but the edge."""

    def __init__(self, callers: Mapping[str, frozenset[str]] | None = None) -> None:
        self._callers = callers

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
        roles = rule.roles

        def users_only(request: Message, call: Call) -> None:
            caller = call.caller or NOBODY
            if caller.user_id is None:
                raise Unauthenticated("sign in first")
            if roles and roles.isdisjoint(caller.roles):
                raise AccessDenied("a role is missing")

        return users_only

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
