"""`make check`: everything that is checked without running Titan. Each check is one command or one short function.

`python -m control.checks [NAME ...]` runs the named ones, or all, two at a time, and shows what those that failed said.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOLS = Path(sys.executable).parent
"""Where the virtual environment has its commands."""

RELEASED_CONTRACT = ROOT / "protos" / "released.binpb"
REQUIREMENTS = ROOT / "requirements.in"
SCANNERS = ROOT / "requirements-scan.in"
DEPENDENCIES = ROOT / "docs" / "DEPENDENCIES.md"
DEPLOY = ROOT / "deploy"
OWN_CODE = ("mesh", "control", "edge_http", "psp_sim", "demo", "bookkeeping", "replay", "rebuild", "bench")

_CHECKS_AT_ONCE = 2
_LONGEST_SECONDS = 300
_LINES_SHOWN = 60
_IN_SERVICES = {
    r"\bexcept (Base)?Exception\b": "only mesh catches what it does not know",
    r"\bcontext\.(abort|set_code)": "only mesh turns exceptions into statuses: raise a Refusal",
}
_ENVIRONMENT = r"\bos\.(environ|getenv)\b"
_ALSO_READS_IT = {"mesh/seams.py"}
"""Failpoints are armed before any settings are read, so that reading them can fail too."""

_DESCRIBED_GROUPS = ("Runtime", "Embedded servers", "Tools", "Scanners")
_FOREIGN_TO_A_LOCK = r"://|^\s*--(?!hash=)|^\s*-[a-z]\b"


@dataclass(frozen=True)
class Check:
    """A check; `run` returns what is wrong, and nothing when all is well."""

    name: str
    run: Callable[[], str]


def checks() -> list[Check]:
    """Return the checks that apply to this tree, the slow ones first."""
    packages = [name for name in (*OWN_CODE, *_services()) if any((ROOT / name).glob("*.py"))]
    python = [sys.executable]
    against = ["breaking", "protos", "--against", str(RELEASED_CONTRACT)]
    compose = ["--file", str(DEPLOY / "compose.yaml"), "config", "--quiet"]
    return [
        Check("types", lambda: _command([*python, "-m", "mypy", *packages])),
        Check("envoy", lambda: _command([*python, "-m", "control.envoy_validate"])),
        Check("imports", lambda: _command([str(TOOLS / "lint-imports"), "--no-cache"])),
        Check("style", lambda: _command([str(TOOLS / "ruff"), "check", "--output-format=concise", "."])),
        Check("contract", _contract),
        Check("contract-style", lambda: _command([str(TOOLS / "buf"), "lint"])),
        Check("generated", lambda: _command([*python, "-m", "control.codegen", "--check"])),
        Check("contract-compatibility", lambda: _command([str(TOOLS / "buf"), *against])),
        Check("compose", lambda: _fresh_compose() or _command([str(TOOLS / "docker-compose"), *compose])),
        Check("dockerfile", lambda: _command([str(TOOLS / "hadolint"), str(DEPLOY / "Dockerfile")])),
        Check("house-rules", lambda: "\n".join(_broken_house_rules())),
        Check("dependencies", lambda: "\n".join(_undocumented(_requirements(), DEPENDENCIES.read_text()))),
        Check("lock", lambda: "\n".join(_foreign_lines(*_locks()))),
    ]


def _services() -> list[str]:
    return sorted(path.name for path in ROOT.glob("svc_*") if path.is_dir())


def _command(command: Sequence[str]) -> str:
    """Run a command; a silent failure is a failure too."""
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=_LONGEST_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as problem:
        return str(problem)
    if done.returncode == 0:
        return ""
    return (done.stdout + done.stderr).strip() or f"{command[0]} ended with status {done.returncode}"


def _contract() -> str:
    """Hold the contract against its own conventions, against the topology and against the policies."""
    from mesh import contract, policies, topology

    try:
        methods = contract.load()
        methods.check()
        topology.load(DEPLOY / "topology.toml").check_against(methods.services)
        policies.load(DEPLOY / "policies.cedar", methods)
    except (contract.ContractProblem, policies.PolicyProblem, topology.TopologyError) as problem:
        return str(problem)
    return ""


def _fresh_compose() -> str:
    """Hold the committed compose file against the topology."""
    from control import compose

    return compose.difference()


def _broken_house_rules() -> Iterator[str]:
    """Yield what stands in a place where only another may do it."""
    for package in (*_services(), "edge_http", "mesh"):
        for file in sorted((ROOT / package).rglob("*.py")):
            rules = dict(_IN_SERVICES) if package.startswith("svc_") else {}
            if file.name != "settings.py" and file.relative_to(ROOT).as_posix() not in _ALSO_READS_IT:
                rules[_ENVIRONMENT] = "only settings.py reads the environment"
            for number, line in enumerate(file.read_text().splitlines(), start=1):
                for pattern, why in rules.items():
                    if re.search(pattern, line):
                        yield f"{file.relative_to(ROOT)}:{number}: {why}"


def _requirements() -> str:
    return "".join(file.read_text() for file in (REQUIREMENTS, SCANNERS))


def _locks() -> list[Path]:
    return [each for file in (REQUIREMENTS, SCANNERS) for each in (file, file.with_suffix(".lock"))]


def _foreign_lines(*files: Path) -> Iterator[str]:
    """Yield the lines that say where packages come from: that is a setting of a machine, not of Titan."""
    for file in files:
        for number, line in enumerate(file.read_text().splitlines(), start=1):
            if not line.lstrip().startswith("#") and re.search(_FOREIGN_TO_A_LOCK, line):
                yield f"{file.name}:{number}: {line.strip()}"


def _undocumented(requirements: str, page: str) -> Iterator[str]:
    """Yield the packages that stand in the `requirements*.in` or in their page, but not in the other one."""
    names = re.compile(r"^([A-Za-z0-9][\w.-]*)", re.MULTILINE)
    sections = re.split(r"^## ", page, flags=re.MULTILINE)
    described: set[str] = set()
    for section in sections:
        if section.partition("\n")[0] in _DESCRIBED_GROUPS:
            described |= set(re.findall(r"^\| ([a-z0-9][\w.-]*) \|", section, flags=re.MULTILINE)) - {"package"}
    wanted = set(names.findall(requirements))
    for name in sorted(wanted ^ described):
        yield f"{name} stands in {'requirements.in' if name in wanted else 'docs/DEPENDENCIES.md'} alone"


def _timed(check: Check) -> tuple[Check, str, float]:
    started = time.monotonic()
    return check, check.run(), time.monotonic() - started


def main(names: Sequence[str]) -> int:
    """Run checks and report each; returns the exit status."""
    chosen = [check for check in checks() if not names or check.name in names]
    if unknown := set(names) - {check.name for check in chosen}:
        print(f"there is no check {', '.join(sorted(unknown))}; there are: {', '.join(c.name for c in checks())}")
        return 2
    failed = []
    with ThreadPoolExecutor(_CHECKS_AT_ONCE) as pool:
        for check, output, seconds in pool.map(_timed, chosen):
            print(f"{'FAILED' if output else 'ok':6}  {check.name}  ({seconds:.1f} s)", flush=True)
            if output:
                failed.append(check.name)
                lines = output.splitlines()
                print("\n".join(f"        {line}" for line in lines[:_LINES_SHOWN]), flush=True)
                if len(lines) > _LINES_SHOWN:
                    print(f"        ... and {len(lines) - _LINES_SHOWN} lines more")
    passed = f"{len(chosen) - len(failed)} of {len(chosen)} checks passed"
    print(f"{passed}; failed: {', '.join(failed)}" if failed else passed)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
