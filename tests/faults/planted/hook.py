"""Plants a defect: whenever this process imports a module that the defect is in, the module is changed at once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

Change = Callable[[ModuleType], None]


def install(name: str) -> None:
    """Plant a defect in this process, before it imports anything of Titan.

    Raises:
        KeyError: There is no such defect.
    """
    from tests.faults.planted.defects import CHANGES

    sys.meta_path.insert(0, _Finder(CHANGES[name]))


class _Finder(MetaPathFinder):
    def __init__(self, changes: Mapping[str, Change]) -> None:
        self._changes = dict(changes)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        change = self._changes.pop(fullname, None)  # popped, so that the search below does not end here again
        if change is None:
            return None
        spec = find_spec(fullname)
        assert spec is not None and spec.loader is not None, f"there is no module {fullname} to plant a defect in"
        spec.loader = _Changing(spec.loader, change)
        return spec


class _Changing(Loader):
    def __init__(self, loader: Loader, change: Change) -> None:
        self._loader = loader
        self._change = change

    def __getattr__(self, name: str) -> object:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        self._change(module)
