"""The templates of `envoy/`, and the places in them that are filled.

It knows YAML and `${name}`, and nothing of Envoy, of the topology or of what a value means.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

TEMPLATES = Path(__file__).parents[1] / "envoy"

_PLACE = re.compile(r"\$\{(\w+)\}")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Dumper(_DUMPER):
    """Writes a value that stands in two places twice: an alias would puzzle a reader."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


@cache
def template(name: str) -> Any:
    """Return a file of `envoy/` as data. It is read once and shared, so nobody changes it: `fill` copies."""
    return load((TEMPLATES / name).read_text(encoding="utf-8"))


def load(text: str) -> Any:
    """Return the data of a YAML text, read by the parser in C where there is one: it takes a tenth of the time."""
    return yaml.load(text, Loader=_LOADER)  # noqa: S506 - a safe loader


def part(name: str, /, **values: Any) -> Any:
    """Return a part of `parts.yaml`, filled."""
    return fill(template("parts.yaml")[name], **values)


def fill(node: Any, **values: Any) -> Any:
    """Return a copy with every `${name}` replaced: alone it becomes the value itself, inside a text its text.

    A mapping's entry whose value becomes None is left out.

    Raises:
        ValueError: A place wants a value that nobody gave.
    """
    if isinstance(node, Mapping):
        filled = {key: fill(value, **values) for key, value in node.items()}
        return {key: value for key, value in filled.items() if value is not None}
    if isinstance(node, list):
        return [fill(item, **values) for item in node]
    if not isinstance(node, str):
        return node
    whole = _PLACE.fullmatch(node)
    if whole:
        value = _value(whole[1], values)
        return str(value) if isinstance(value, Path) else value
    return _PLACE.sub(lambda place: str(_value(place[1], values)), node)


def _value(name: str, values: Mapping[str, Any]) -> Any:
    if name not in values:
        raise ValueError(f"a template wants ${{{name}}}, and nobody gave it")
    return values[name]


def dump(config: Any) -> str:
    """Return a configuration as YAML, under a head that says where it comes from."""
    head = "# Rendered from deploy/topology.toml and envoy/; changes here are lost.\n"
    return head + yaml.dump(config, Dumper=_Dumper, sort_keys=False, width=160)
