"""What a role may do, and with whose objects: the policies of one readable file, decided by Cedar (cedarpolicy.com).

The file is `deploy/policies.cedar`. Its vocabulary comes from the contract: an action is a method that people may call,
or the amount of one; a resource has an owner; the context has what the request says about itself, such as a ticket. A
policy that names anything else, or gives a role a method that the contract does not open to it, stops the start.

Most decisions need nothing of a call but its method and its roles. Those are taken once, when a process starts, so a
customer's call never asks the engine. What depends on owner, ticket or amount is asked call by call, and only for
callers with a role that has anything to gain by it (`mesh.powers`). Policies permit: what none permits is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cedarpy

from mesh.contract import ROLES, TICKET_FIELD, AccessKind, Contract, Method

CUSTOMER = "customer"
"""The action that stands for all methods that are open to whoever is signed in."""

AMOUNT = " amount"
"""An action is a method, or with this behind it the amount that a call of it moves."""

MONEY = "titan.type.v1.Money"
KNOWN_ROLES = 128
"""Combinations of roles whose user is kept ready for the engine: 64 are possible."""


class PolicyProblem(Exception):
    """The policies cannot be used; the message lists why, one problem a line."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


@dataclass(frozen=True, slots=True)
class Grant:
    """The roles that may do something: some always, others when owner, ticket or amount are as their policies ask."""

    always: frozenset[str] = frozenset()
    asking: frozenset[str] = frozenset()

    @property
    def roles(self) -> frozenset[str]:
        """Everybody who may do it at some time."""
        return self.always | self.asking


NOBODY_MORE = Grant()


class Policies:
    """The policies of a process: what they grant at once, and the engine for the rest."""

    def __init__(self, text: str, contract: Contract, services: Iterable[str] | None = None) -> None:
        """Read policies, check them, and decide what can be decided of these services; of all without them.

        Raises:
            PolicyProblem: They are no policies, name what the contract does not have, or contradict its access rules.
        """
        self._methods = {each.full_name: each for each in contract.methods.values() if _is_for_people(each)}
        try:
            self._set = cedarpy.PolicySet.from_str(text)
        except ValueError as problem:
            raise PolicyProblem(str(problem).splitlines() or ["no policies"]) from None
        checked = cedarpy.validate_policies(text, vocabulary(self._methods.values()))
        if not checked.validation_passed:
            names = checked.id_annotations_by_policy_id
            raise PolicyProblem(f"{names.get(each.policy_id, each.policy_id)}: {each.error}" for each in checked.errors)
        self._around = cedarpy.Entities.from_json_str(json.dumps(list(_surroundings(self._methods.values()))))
        self._with_user = lru_cache(maxsize=KNOWN_ROLES)(self._and_a_user)
        served = None if services is None else frozenset(services)
        methods = [each for each in self._methods.values() if served is None or each.service in served]
        self._grants = {action: self._grant(action) for action in _actions(methods)}
        problems = [*_bans(text), *(problem for method in methods for problem in self._problems(method))]
        if problems:
            raise PolicyProblem(problems)

    def grant(self, action: str) -> Grant:
        """Return who may take an action beyond what anybody may do with what is theirs."""
        return self._grants.get(action, NOBODY_MORE)

    def permits(self, action: str, roles: frozenset[str], *, own: bool, context: Mapping[str, Any]) -> bool:
        """Return whether somebody with these roles may do something, to what is their own or somebody else's.

        Raises:
            PolicyProblem: The engine could not decide, which is a defect: what it is asked is what it was given.
        """
        request = {
            "principal": _named("User", "caller"),
            "action": _named("Action", action),
            "resource": _named("Object", "own" if own else "other"),
            "context": dict(context),
        }
        result = cedarpy.is_authorized(request, self._set, self._with_user(roles & ROLES))
        if result.decision is cedarpy.Decision.NoDecision or result.diagnostics.errors:
            raise PolicyProblem(result.diagnostics.errors)
        return result.allowed

    def _and_a_user(self, roles: frozenset[str]) -> cedarpy.Entities:
        parents = [_uid("Role", role) for role in sorted(roles)]
        user = {"uid": _uid("User", "caller"), "attrs": {}, "parents": parents}
        return self._around.with_added_json_str(json.dumps([user]))

    def _grant(self, action: str) -> Grant:
        """Let the engine decide with nothing known but action and role: it says yes, no, or on what it depends."""
        anybody = self._foreseen(action, frozenset())
        always, asking = set(), set()
        for role in ROLES:
            result = self._foreseen(action, frozenset({role}))
            more = set(result.diagnostics.may_be_determining) - set(anybody.diagnostics.may_be_determining)
            if result.decision is cedarpy.Decision.Allow:
                always.add(role)
            elif result.decision is cedarpy.Decision.NoDecision and more:
                asking.add(role)
        return Grant(frozenset(always), frozenset(asking))

    def _foreseen(self, action: str, roles: frozenset[str]) -> Any:
        request = {"principal": _named("User", "caller"), "action": _named("Action", action)}
        return cedarpy.is_authorized_partial(request, self._set, self._with_user(roles))

    def _problems(self, method: Method) -> Iterator[str]:
        assert method.access is not None
        name, granted = method.full_name, self.grant(method.full_name).roles
        if _is_for_customers(method):
            theirs, others = (self.permits(name, frozenset(), own=own, context={}) for own in (True, False))
            if not theirs or others:
                yield f"{name}: it is for customers, and no policy lets them do it with what is theirs alone"
        elif granted != method.access.roles:
            yield f"{name}: the contract opens it to {_listed(method.access.roles)}, policies to {_listed(granted)}"
        if method.server_streaming and self.grant(name).asking:
            yield f"{name}: a stream cannot depend on what is asked call by call"


def load(path: Path, contract: Contract, services: Iterable[str] | None = None) -> Policies:
    """Return the policies of a file, for a process that hosts these services, or for all.

    Raises:
        PolicyProblem: It cannot be read, or is not what `Policies` takes.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise PolicyProblem([f"{path}: the policies cannot be read ({type(problem).__name__})"]) from None
    try:
        return Policies(text, contract, services)
    except PolicyProblem as problem:
        raise PolicyProblem([f"{path}: the policies cannot be used", *problem.problems]) from None


def _bans(text: str) -> Iterator[str]:
    """Yield what is no permission: with bans, what a role may do could not be read off a policy alone."""
    for name, policy in json.loads(cedarpy.policies_to_json_str(text))["staticPolicies"].items():
        if policy["effect"] != "permit":
            yield f"{policy.get('annotations', {}).get('id', name)}: policies permit, this one forbids"


def vocabulary(methods: Iterable[Method]) -> dict[str, Any]:
    """Return the schema of the policies: every method that people may call, and what can be known about a call."""
    ticket = {TICKET_FIELD: {"type": "String", "required": False}}
    amount = {"currency": {"type": "String"}, "amount_minor": {"type": "Long"}}
    actions: dict[str, Any] = {CUSTOMER: {}}
    for action, method in _actions(methods).items():
        context = amount if action != method.full_name else ticket if method.takes_ticket else {}
        groups = [{"id": CUSTOMER}] if action == method.full_name and _is_for_customers(method) else []
        applies = {"principalTypes": ["User"], "resourceTypes": ["Object"]}
        actions[action] = {
            "memberOf": groups,
            "appliesTo": {**applies, "context": {"type": "Record", "attributes": context}},
        }
    owner = {"owner": {"type": "Entity", "name": "User"}}
    types = {
        "Role": {"enum": sorted(ROLES)},
        "User": {"memberOfTypes": ["Role"]},
        "Object": {"shape": {"type": "Record", "attributes": owner}},
    }
    return {"": {"entityTypes": types, "actions": actions}}


def _is_for_people(method: Method) -> bool:
    return method.access is not None and method.access.kind in (AccessKind.CUSTOMER, AccessKind.ROLES)


def _is_for_customers(method: Method) -> bool:
    return method.access is not None and method.access.kind is AccessKind.CUSTOMER


def _actions(methods: Iterable[Method]) -> dict[str, Method]:
    found: dict[str, Method] = {}
    for method in methods:
        found[method.full_name] = method
        amount = method.request_class.DESCRIPTOR.fields_by_name.get("amount")
        if amount is not None and amount.message_type is not None and amount.message_type.full_name == MONEY:
            found[method.full_name + AMOUNT] = method
    return found


def _uid(kind: str, name: str) -> dict[str, str]:
    return {"type": kind, "id": name}


def _named(kind: str, name: str) -> str:
    return f'{kind}::"{name}"'


def _surroundings(methods: Iterable[Method]) -> Iterator[dict[str, Any]]:
    """Yield what there is beside a user: the actions, something of the user's, and something of somebody else's."""
    for action, method in _actions(methods).items():
        parents = [_uid("Action", CUSTOMER)] if action == method.full_name and _is_for_customers(method) else []
        yield {"uid": _uid("Action", action), "attrs": {}, "parents": parents}
    for name, owner in (("own", "caller"), ("other", "another")):
        yield {"uid": _uid("Object", name), "attrs": {"owner": {"__entity": _uid("User", owner)}}, "parents": []}


def _listed(roles: frozenset[str]) -> str:
    return ", ".join(sorted(roles)) or "nobody"
