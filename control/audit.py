"""`make audit-verify`: hold the audit log of every package against its sealed chain, and against heads kept elsewhere.

A head, the height and the hash of a block, stands for everything up to it. Whoever owns a database can cut off the end
of its chain so that the rest looks whole; the heads that the services wrote into their logs, and those that this
command saw at its last run, tell. It reads, in pages, and writes nothing but the heads that it has verified.

`--new` begins where the last run ended, for a run every few minutes; without it, everything is read. `--database`
verifies any database by its DSN, which the role needs SELECT for, and nothing more; its password is in a file like
psql's ~/.pgpass, or in one that the DSN names as `?passfile=`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import asyncpg
from rich.console import Console
from rich.table import Table

from control.home import Home, HomeUnusable
from mesh import audit
from mesh.audit import Findings
from mesh.sealing import Head
from mesh.settings import has_password

SEALED = '"message":"audit block sealed"'
"""What stands in the line of a service's log that says which block it sealed."""

CONNECT_SECONDS = 10.0

Heads = dict[str, list[Head]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Verify and print; returns 0 if everything is whole, 1 if anything is not, 2 if nothing could be verified."""
    parser = argparse.ArgumentParser(prog="python -m control.audit", description="Verify the audit log.")
    parser.add_argument("--new", action="store_true", help="only what was sealed since the last run")
    parser.add_argument("--database", action="append", default=[], metavar="PACKAGE=DSN", help="instead of the mesh's")
    parser.add_argument("--heads", type=Path, help="where verified heads are kept")
    parser.add_argument("--log", action="append", type=Path, default=[], help="a log to take heads from")
    options = parser.parse_args(arguments)
    try:
        home = Home.from_environment()
        databases = dict(each.partition("=")[::2] for each in options.database) or _databases(home)
        if options.database and any(has_password(url) for url in databases.values()):
            parser.error("an argument is seen by every account: no password in a DSN, but ?passfile=FILE, as for psql")
    except (HomeUnusable, OSError, ValueError) as problem:
        print(f"no mesh to verify: {problem}", file=sys.stderr)
        return 2
    kept = options.heads or home.path / "audit_heads.json"
    seen = read_heads(kept)
    logged = heads_of_logs(options.log or sorted(home.log.glob("svc_*.log*")))
    try:
        found = asyncio.run(_verify_all(databases, seen, logged, only_new=options.new))
    except (OSError, asyncpg.PostgresError) as problem:
        print(f"a database does not answer: {problem}", file=sys.stderr)
        return 2
    Console(width=None if sys.stdout.isatty() else 120).print(_table(found))
    for package, findings in found.items():
        for line in findings.problems:
            print(f"{package}: {line}")
    whole = {package: each.head for package, each in found.items() if not each.problems and each.head is not None}
    write_heads(kept, {**seen, **whole})
    return 0 if found and len(whole) == len(found) else 1


def read_heads(file: Path) -> dict[str, Head]:
    """Return the head of each package that an earlier run verified."""
    if not file.exists():
        return {}
    return {
        name: Head(each["height"], bytes.fromhex(each["hash"])) for name, each in json.loads(file.read_text()).items()
    }


def write_heads(file: Path, heads: Mapping[str, Head]) -> None:
    """Keep the head of each package for the next run."""
    fresh = file.with_suffix(".new")
    fresh.write_text(json.dumps({name: {"height": h.height, "hash": h.hash.hex()} for name, h in heads.items()}) + "\n")
    fresh.replace(file)


def heads_of_logs(files: Iterable[Path]) -> Heads:
    """Return the newest head of each package that its processes wrote into each log; a torn line is none."""
    found: Heads = {}
    for file in files:
        newest: dict[str, Head] = {}
        with file.open(errors="replace") as lines:
            for line in lines:
                if SEALED not in line:
                    continue
                try:
                    said = json.loads(line)
                    newest[said["package"]] = Head(said["height"], bytes.fromhex(said["hash"]))
                except (ValueError, KeyError):
                    continue
        for package, head in newest.items():
            found.setdefault(package, []).append(head)
    return found


async def _verify_all(
    databases: Mapping[str, str], seen: Mapping[str, Head], logged: Mapping[str, list[Head]], *, only_new: bool
) -> dict[str, Findings]:
    found = {}
    for package, url in databases.items():
        witnesses = [*logged.get(package, ()), *([seen[package]] if package in seen else ())]
        connection = await asyncpg.connect(url, timeout=CONNECT_SECONDS)
        try:
            since = seen.get(package) if only_new else None
            found[package] = await audit.verify(connection, since=since, witnesses=witnesses)
        finally:
            await connection.close()
    return found


def _databases(home: Home) -> dict[str, str]:
    """Return the DSN of each package of the running mesh.

    Raises:
        OSError, ValueError: There is none.
    """
    databases: dict[str, str] = json.loads(home.endpoints.read_text())["postgres"]
    return databases


def _table(found: Mapping[str, Findings]) -> Table:
    rows = Table(title="The audit log")
    rows.add_column("package", no_wrap=True)
    for heading in ("blocks", "entries", "not sealed yet"):
        rows.add_column(heading, justify="right")
    rows.add_column("newest block", no_wrap=True)
    rows.add_column("whole")
    for package, each in found.items():
        head = f"{each.head.height}:{each.head.hash.hex()[:16]}" if each.head else "-"
        counts = (f"{count:,}" for count in (each.blocks, each.entries, each.unsealed))
        rows.add_row(package, *counts, head, "NO" if each.problems else "yes", style="red" if each.problems else "")
    return rows


if __name__ == "__main__":
    sys.exit(main())
