"""`python -m tests.mutation [FILE ...]`: change the rules one operator at a time, and see whether their tests notice.

Rules are pure and their tests take milliseconds, so each file has one process, which collects the tests of the file
once and forks a child per mutant: the child changes the module in place, runs the tests, and ends at the first that
fails. A mutant that no test notices survives, and is printed; a file of which more than a fifth survives fails. What
cannot change behaviour (docstrings, annotations, the words of messages) is left alone, and so are the values of enums,
which `tests/contracts` compares with the contract. Made here because mutmut copies the whole repository, needs ten
packages, spends half a second on a mutant, and leaves the tables of the rules alone.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import io
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LEAST_KILLED = 0.8
MUTANT_CPU_SECONDS = 5
"""A mutant that computes for longer is an endless loop, which anybody would notice."""

RULES: Mapping[str, tuple[str, ...]] = {
    "svc_payment/ledger/rules.py": ("tests/svc_payment/ledger/test_rules.py",),
    "svc_payment/payment/rules.py": (
        "tests/svc_payment/payment/test_rules.py",
        "tests/svc_payment/payment/test_effects.py",
        "tests/svc_payment/payment/test_answers.py",
    ),
    "svc_payment/payment/effects.py": ("tests/svc_payment/payment/test_effects.py",),
    "svc_payment/payment/answers.py": ("tests/svc_payment/payment/test_answers.py",),
    "svc_payment/reconciliation/rules.py": ("tests/svc_payment/reconciliation/test_rules.py",),
    "svc_order/invoice/rules.py": ("tests/svc_order/invoice/test_rules.py",),
    "svc_inventory/inventory/rules.py": ("tests/svc_inventory/inventory/test_rules.py",),
    "svc_order/order/rules.py": ("tests/svc_order/order/test_rules.py", "tests/svc_order/order/test_journal.py"),
    "svc_order/order/lines.py": ("tests/svc_order/order/test_rules.py", "tests/svc_order/order/test_journal.py"),
    "svc_order/order/journal.py": ("tests/svc_order/order/test_journal.py",),
    "svc_order/checkout/rules.py": ("tests/svc_order/checkout/test_rules.py",),
    "svc_payment/split/rules.py": ("tests/svc_payment/split/test_rules.py",),
    "svc_order/split/rules.py": ("tests/svc_order/split/test_rules.py",),
    "mesh/proportion.py": ("tests/mesh/test_proportion.py",),
}

_COMPARED: Mapping[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_COMPUTED: Mapping[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}


@dataclass(frozen=True)
class Mutant:
    """One change: where, what, and the statement of the module that has it."""

    line: int
    what: str
    statement: ast.stmt


def mutants(source: str) -> Iterator[Mutant]:
    """Yield every statement of a module that differs from the source in one place."""
    for statement in ast.parse(source).body:
        if _is_silent(statement):
            continue
        for place, node in enumerate(_live(statement)):
            for what, change in _changes(node):
                changed = copy.deepcopy(statement)
                change(list(_live(changed))[place])
                yield Mutant(getattr(node, "lineno", statement.lineno), what, ast.fix_missing_locations(changed))


def _live(node: ast.AST) -> Iterator[ast.AST]:
    """Walk what is evaluated: no docstring, no annotation, no message of a refusal, no assertion, no repr."""
    yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or _is_silent(child):
                continue
            if isinstance(child, ast.FunctionDef) and child.name == "__repr__":
                continue
            yield from _live(child)


def _is_silent(node: ast.AST) -> bool:
    if isinstance(node, ast.ClassDef) and any("Enum" in ast.unparse(base) for base in node.bases):
        return True
    is_words = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return is_words or isinstance(node, ast.Assert | ast.JoinedStr | ast.Import | ast.ImportFrom)


def _changes(node: ast.AST) -> Iterator[tuple[str, Any]]:
    """Yield the words and the way of each change of one node."""
    match node:
        case ast.Compare(ops=[operator], comparators=[right]):
            for other in _COMPARED[type(operator)]:
                yield f"{ast.unparse(node)}: {other.__name__}", lambda n, o=other: setattr(n, "ops", [o()])
            del right
        case ast.BinOp(op=operator) if type(operator) in _COMPUTED:
            other = _COMPUTED[type(operator)]
            yield f"{ast.unparse(node)}: {other.__name__}", lambda n, o=other: setattr(n, "op", o())
        case ast.AugAssign(op=operator) if type(operator) in _COMPUTED:
            other = _COMPUTED[type(operator)]
            yield f"{ast.unparse(node)}: {other.__name__}", lambda n, o=other: setattr(n, "op", o())
        case ast.BoolOp(op=operator):
            swapped = ast.And if isinstance(operator, ast.Or) else ast.Or
            yield f"{ast.unparse(node)}: {swapped.__name__}", lambda n, o=swapped: setattr(n, "op", o())
        case ast.UnaryOp(op=ast.Not()):
            yield f"{ast.unparse(node)}: without not", _without_not
        case ast.UnaryOp(op=ast.USub()):
            yield f"{ast.unparse(node)}: positive", lambda n: setattr(n, "op", ast.UAdd())
        case ast.If() | ast.IfExp():
            for value in (True, False):
                text = f"if {ast.unparse(node.test)}: always {value}"
                yield text, lambda n, v=value: setattr(n, "test", ast.Constant(v))
        case ast.match_case(guard=ast.AST() as guard):
            for value in (True, False):
                yield (
                    f"case if {ast.unparse(guard)}: always {value}",
                    lambda n, v=value: setattr(n, "guard", ast.Constant(v)),
                )
        case ast.Constant(value=bool() as value):
            yield f"{value}: {not value}", lambda n: setattr(n, "value", not n.value)
        case ast.Constant(value=int() as value):
            yield f"{value}: {value + 1}", lambda n: setattr(n, "value", n.value + 1)
        case ast.Attribute(value=ast.Name(id=enum), attr=member) if enum[0].isupper() and member.isupper():
            yield f"{enum}.{member}: None", _nothing
        case ast.Return(value=ast.AST() as value) if not isinstance(value, ast.Constant):
            yield f"{_short(node)}: None", lambda n: setattr(n, "value", ast.Constant(None))
    for name in ("body", "orelse"):
        block = getattr(node, name, None)
        if isinstance(block, list) and not isinstance(node, ast.Module | ast.ClassDef):
            for place, statement in enumerate(block):
                is_change = ast.Assign | ast.AugAssign | ast.Expr | ast.Raise | ast.Continue | ast.Break
                if isinstance(statement, is_change) and not _is_silent(statement):
                    yield f"{_short(statement)}: left out", lambda n, b=name, p=place: _leave_out(n, b, p)


def _without_not(node: Any) -> None:
    node.op, node.operand = ast.Not(), ast.UnaryOp(ast.Not(), node.operand)


def _nothing(node: Any) -> None:
    node.__class__, node.value, node.kind = ast.Constant, None, None


def _leave_out(node: Any, name: str, place: int) -> None:
    getattr(node, name)[place] = ast.Pass()


def _short(node: ast.AST) -> str:
    return " ".join(ast.unparse(node).split())[:90]


def apply(module: ModuleType, statement: ast.stmt) -> None:
    """Change a module that others have imported from: its functions and classes stay what they are, with other code."""
    names = dict(module.__dict__)
    exec(compile(ast.Module([statement], []), module.__file__ or "", "exec"), names)
    match statement:
        case ast.FunctionDef(name=name):
            _transplant(module.__dict__[name], names[name])
        case ast.ClassDef(name=name):
            for attribute, value in vars(names[name]).items():
                _transplant(vars(module.__dict__[name]).get(attribute), value)
        case _:
            module.__dict__.update(names)


def _transplant(old: Any, new: Any) -> None:
    if isinstance(old, property):
        old, new = old.fget, new.fget
    if isinstance(old, FunctionType):
        old.__code__, old.__defaults__, old.__kwdefaults__ = new.__code__, new.__defaults__, new.__kwdefaults__


class Forks:
    """A plugin that runs the collected tests in a child for every mutant, instead of once."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._mutants = list(mutants((ROOT / file).read_text()))
        self.survivors: list[Mutant] = []

    @property
    def count(self) -> int:
        """How many mutants there are."""
        return len(self._mutants)

    def pytest_runtestloop(self, session: Any) -> bool:
        """Run them all.

        Raises:
            RuntimeError: The tests fail on the file as it is.
        """
        # Those that try many examples come last: most mutants do not live that long.
        session.items.sort(key=lambda item: getattr(item.obj, "is_hypothesis_test", False))
        module = sys.modules[self._file.removesuffix(".py").replace("/", ".")]
        same = [each for each in ast.parse((ROOT / self._file).read_text()).body if not _is_silent(each)]
        if not self._passes(session, module, *same):
            raise RuntimeError(f"the tests of {self._file} fail without any change")
        self.survivors = [each for each in self._mutants if self._passes(session, module, each.statement)]
        return True

    @staticmethod
    def _passes(session: Any, module: ModuleType, *statements: ast.stmt) -> bool:
        child = os.fork()
        if child:
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        status = 1
        try:
            resource.setrlimit(resource.RLIMIT_CPU, (MUTANT_CPU_SECONDS, MUTANT_CPU_SECONDS))
            for statement in statements:
                apply(module, statement)
            session.shouldfail = False
            session.config.option.maxfail = 1
            for item in session.items:
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
                if session.testsfailed:
                    break
            else:
                status = 0
        finally:
            os._exit(status)


def look(file: str) -> Forks:
    """Try every mutant of a file."""
    import hypothesis
    import pytest

    hypothesis.settings.register_profile(
        "mutation",
        derandomize=True,
        database=None,
        deadline=None,
        max_examples=50,
        phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    hypothesis.settings.load_profile("mutation")
    forks = Forks(file)
    words = io.StringIO()
    with contextlib.redirect_stdout(words):
        status = pytest.main(["-q", "-p", "no:cacheprovider", "-p", "no:timeout", "--tb=no", *RULES[file]], [forks])
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        raise RuntimeError(words.getvalue())
    return forks


def main(arguments: Sequence[str] | None = None) -> int:
    """Look at every file in a process of its own, two at a time; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description="Do the tests of rules notice?")
    parser.add_argument("files", nargs="*", help=f"some of {', '.join(RULES)}")
    parser.add_argument("--within", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    files = options.files or list(RULES)
    if options.within:
        return _report(files[0])
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        statuses = list(pool.map(_apart, files))
    return max(statuses)


def _apart(file: str) -> int:
    done = subprocess.run(
        [sys.executable, "-m", "tests.mutation", "--within", file], cwd=ROOT, capture_output=True, text=True
    )
    print(done.stdout + done.stderr, end="", flush=True)
    return done.returncode


def _report(file: str) -> int:
    began = time.monotonic()
    looked = look(file)
    count, left = looked.count, looked.survivors
    killed = count - len(left)
    share = killed / count
    print(f"{file}: {killed} of {count} killed, {share:.0%}, {time.monotonic() - began:.0f} s")
    for mutant in left:
        print(f"  line {mutant.line}: {mutant.what}")
    return 0 if share >= LEAST_KILLED else 1


if __name__ == "__main__":
    sys.exit(main())
