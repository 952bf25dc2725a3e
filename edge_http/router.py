"""Finds the route of a request: the table of `google.api.http` rules as a tree of path segments.

The most literal route wins, segment by segment from the left. Paths are matched as they travel, percent-encoded, so
that a SKU may hold any character: an encoded slash never ends a segment and an encoded colon never starts a verb.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

MAX_SEGMENTS = 32

_PIECE = re.compile(r"\{([^{}=]+)(?:=([^{}]*))?\}|\*\*|\*|[^/{}*]+")

T = TypeVar("T")


class TemplateProblem(ValueError):
    """A path template that this router cannot serve."""


@dataclass(frozen=True)
class Template:
    """A parsed path template: `segments` hold a literal, `*` or `**`; `verb` is what follows the last colon.

    `variables` are the field paths that capture, each with the range of segments that it covers.
    """

    segments: tuple[str, ...]
    verb: str
    variables: tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class Match(Generic[T]):
    """What was found: the route's value, and the raw text of every variable, by field path."""

    value: T
    captured: tuple[tuple[str, str], ...]


@dataclass
class _Node(Generic[T]):
    literals: dict[str, _Node[T]] = field(default_factory=dict)
    any: _Node[T] | None = None
    rest: _Node[T] | None = None
    ends: dict[str, dict[str, tuple[Template, T]]] = field(default_factory=dict)
    """Custom verb (empty for none) -> HTTP method -> the route that ends here."""


def parse(template: str) -> Template:
    """Return a template in parts.

    Raises:
        TemplateProblem: It is not a template of google.api.http.
    """
    path, verb = template, ""
    last = template.rpartition("/")[2]
    if ":" in last.rpartition("}")[2]:
        path, _, verb = template.rpartition(":")
    if not path.startswith("/"):
        raise TemplateProblem(f"{template} does not start with a slash")
    segments: list[str] = []
    variables: list[tuple[str, int, int]] = []
    rest = path[1:]
    while rest:
        found = _PIECE.match(rest)
        if found is None:
            raise TemplateProblem(f"{template} cannot be read at {rest}")
        if found.group(1) is not None:
            inner = (found.group(2) or "*").split("/")
            variables.append((found.group(1), len(segments), len(segments) + len(inner)))
            segments += inner
        else:
            segments.append(found.group())
        rest = rest[found.end() :]
        if rest:
            if rest[0] != "/" or rest == "/":
                raise TemplateProblem(f"{template} cannot be read at {rest}")
            rest = rest[1:]
    if not segments or "**" in segments[:-1] or len(segments) > MAX_SEGMENTS:
        raise TemplateProblem(f"{template} has no segments, too many, or ** before its end")
    return Template(tuple(segments), verb, tuple(variables))


class Router(Generic[T]):
    """The table. `find` answers the match of a method and a raw path, or the methods that the path has."""

    def __init__(self, routes: Iterable[tuple[str, str, T]]) -> None:
        """Take (HTTP method, template, value) of every route."""
        self._root: _Node[T] = _Node()
        for method, template, value in routes:
            self._add(method, parse(template), value)

    def _add(self, method: str, template: Template, value: T) -> None:
        node = self._root
        for segment in template.segments:
            if segment == "*":
                node.any = node.any or _Node()
                node = node.any
            elif segment == "**":
                node.rest = node.rest or _Node()
                node = node.rest
            else:
                node = node.literals.setdefault(segment, _Node())
        there = node.ends.setdefault(template.verb, {})
        if method in there:
            raise TemplateProblem(f"two routes answer {method} /{'/'.join(template.segments)}")
        there[method] = (template, value)

    def find(self, method: str, path: str) -> Match[T] | frozenset[str]:
        """Return the match, else the HTTP methods that this path has: none means that there is no such path."""
        if not path.startswith("/") or path.count("/") > MAX_SEGMENTS:
            return frozenset()
        segments = path[1:].split("/")
        allowed: set[str] = set()
        stem, colon, verb = segments[-1].rpartition(":")
        if colon and stem and verb:
            found = self._search(method, [*segments[:-1], stem], verb, allowed)
            # A path that is known with this verb is never read as one whose last segment holds a colon.
            if found is not None or allowed:
                return found or frozenset(allowed)
        return self._search(method, segments, "", allowed) or frozenset(allowed)

    def _search(self, method: str, segments: list[str], verb: str, allowed: set[str]) -> Match[T] | None:
        def walk(node: _Node[T], index: int) -> Match[T] | None:
            if index == len(segments):
                return ended(node)
            segment = segments[index]
            following = node.literals.get(segment)
            if following is not None and (found := walk(following, index + 1)) is not None:
                return found
            if node.any is not None and segment and (found := walk(node.any, index + 1)) is not None:
                return found
            return ended(node.rest) if node.rest is not None and segment else None

        def ended(node: _Node[T]) -> Match[T] | None:
            methods = node.ends.get(verb)
            if methods is None:
                return None
            route = methods.get(method)
            if route is None:
                allowed.update(methods)
                return None
            template, value = route
            size = len(template.segments)
            captured = tuple(
                (name, "/".join(segments[first : None if last == size else last]))
                for name, first, last in template.variables
            )
            return Match(value, captured)

        return walk(self._root, 0)
