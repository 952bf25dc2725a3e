"""The checks find what they are there for, and a check that cannot run counts as failed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from control import checks


def test_a_lock_that_says_where_packages_come_from_is_refused(tmp_path: Path):
    """Hashes and names belong into it; hosts, indexes and folders are settings of a machine."""
    lock = tmp_path / "requirements.lock"
    lock.write_text(
        "# https://example.com is only a comment\n"
        "--index-url=x\n"
        "alpha==1 \\\n    --hash=sha256:00\n"
        "beta @ https://example.com/beta.whl\n"
        "-f wheels\n"
    )

    found = list(checks._foreign_lines(lock))

    assert [
        "requirements.lock:2: --index-url=x",
        "requirements.lock:5: beta @ https://example.com/beta.whl",
        "requirements.lock:6: -f wheels",
    ] == found


def test_a_command_that_cannot_run_or_fails_silently_is_a_failure():
    """Nothing passes by not being there."""
    assert checks._command(["/no/such/tool"])
    assert "ended with status 1" in checks._command(["false"])
    assert "" == checks._command(["true"])


def test_every_check_of_the_contract_is_there():
    """A clone has what these need: a released image, the topology and the lock."""
    names = {check.name for check in checks.checks()}

    wanted = {"types", "style", "imports", "contract", "contract-style", "generated", "envoy", "house-rules", "lock"}
    wanted |= {"contract-compatibility", "compose", "dockerfile", "dependencies"}
    assert wanted <= names


def test_a_change_that_breaks_a_client_is_refused(tmp_path: Path):
    """The released image is good enough to notice a field that was given another number."""
    for name in ("protos", "third_party"):
        shutil.copytree(checks.ROOT / name, tmp_path / name)
    shutil.copy(checks.ROOT / "buf.yaml", tmp_path)
    order = tmp_path / "protos" / "titan" / "order" / "v1" / "order.proto"
    order.write_text(order.read_text().replace("string user_id = 2;", "string user_id = 99;"))

    command = [checks.TOOLS / "buf", "breaking", "protos", "--against", checks.RELEASED_CONTRACT]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode != 0 and "user_id" in done.stdout


def test_a_package_that_nobody_explained_is_named():
    """The page and the list name the same packages; other tables of the page do not count."""
    page = "## Runtime\n| package | for |\n|---|---|\n| grpcio | calls |\n| gone | ? |\n## Images\n| envoy | edge |\n"

    found = list(checks._undocumented("# why\ngrpcio==1.0\nredis[hiredis]  # cart\n", page))

    assert [
        "gone stands in docs/DEPENDENCIES.md alone",
        "redis stands in requirements.in alone",
    ] == found
