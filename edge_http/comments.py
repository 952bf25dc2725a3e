"""What the contracts say in words: the comments that code generation kept, and the reasons that methods refuse with."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from edge_http.json_names import camel_path
from mesh.contract import Method

_REASON = re.compile(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*\b")
_QUOTED_FIELD = re.compile(r"`[a-z][a-z0-9_.]*`")
_PREFIX = "ERROR_REASON_"


@dataclass(frozen=True)
class Comments:
    """Comments by full name; of an enum's value by the enum's full name, a dot and the value's name."""

    by_name: Mapping[str, str]
    reasons: Mapping[str, str]
    """Every reason of the contract, without its prefix, and what it means."""

    def of(self, full_name: str) -> str:
        """Return a comment as one paragraph a line, its quoted field names as JSON has them; nothing for none."""
        paragraphs = self.by_name.get(full_name, "").split("\n\n")
        text = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
        return _QUOTED_FIELD.sub(lambda found: camel_path(found.group()), text)

    def summary(self, full_name: str) -> str:
        """Return the first sentence, without its full stop: a title for a list."""
        first = self.of(full_name).split("\n\n")[0]
        return re.split(r"(?<=[a-z0-9)])[.:;] ", first)[0].rstrip(".")

    def refusals(self, method: Method) -> list[str]:
        """Return the reasons that a method's comment names, in its order."""
        words = _REASON.findall(self.by_name.get(method.full_name, ""))
        return list(dict.fromkeys(word for word in words if word in self.reasons))


@cache
def load(root: str = "titan") -> Comments:
    """Return the comments of the generated package `root`; without the file of comments there are none."""
    file = resources.files(root) / "comments.json"
    by_name = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return Comments(by_name, _reasons(root, by_name))


def _reasons(root: str, by_name: Mapping[str, str]) -> dict[str, str]:
    package = importlib.import_module(root)
    found: dict[str, str] = {}
    for folder in map(Path, package.__path__):
        for path in sorted(folder.rglob("error_reason_pb2.py")):
            module = importlib.import_module(".".join([root, *path.relative_to(folder).with_suffix("").parts]))
            enum = module.DESCRIPTOR.enum_types_by_name["ErrorReason"]
            for value in enum.values:
                if value.number:
                    found[value.name.removeprefix(_PREFIX)] = by_name.get(f"{enum.full_name}.{value.name}", "")
    return found
