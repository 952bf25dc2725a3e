"""Where the scanners are, and how one is run: within its time, with its words in a file.

Those in Python stand in `.venv-scan`. slowhttptest is a package of Debian: the one on the PATH is taken, else the
package is fetched and unpacked beside the environment, which needs no root.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.faults.mesh import ROOT
from tests.scans.report import Unusable

FOLDER = ROOT / ".venv-scan"
DEBIAN = FOLDER / "debian"
FETCH_SECONDS = 120.0
LAST_LINES = 5


def of_python(name: str) -> str:
    """Return the path of a program that a package of `requirements-scan.lock` brings.

    Raises:
        Unusable: It is not there.
    """
    program = FOLDER / "bin" / name
    if not program.exists():
        raise Unusable(f"{name} is not installed: `make scan` installs it")
    return str(program)


def of_debian(name: str) -> str:
    """Return the path of a program that a package of Debian of the same name brings.

    Raises:
        Unusable: It is not on the PATH, and its package is not to be had.
    """
    if found := shutil.which(name):
        return found
    program = DEBIAN / "usr" / "bin" / name
    if not program.exists():
        DEBIAN.mkdir(parents=True, exist_ok=True)
        try:
            _quietly(["apt-get", "download", name])
            (package,) = DEBIAN.glob(f"{name}_*.deb")
            _quietly(["dpkg", "-x", str(package), str(DEBIAN)])
        except (OSError, subprocess.SubprocessError, ValueError) as problem:
            raise Unusable(f"{name} is not on the PATH, and Debian's package is not to be had: {problem}") from problem
    return str(program)


def _quietly(command: Sequence[str]) -> None:
    subprocess.run(command, cwd=DEBIAN, check=True, capture_output=True, timeout=FETCH_SECONDS)


def run(
    command: Sequence[str],
    log: Path,
    *,
    within_seconds: float,
    statuses: Sequence[int] = (0,),
    folder: Path = ROOT,
) -> str:
    """Run a scanner and return what it said, which stands in the log too.

    Args:
        statuses: The exit statuses of a scanner that did its work, whatever it found.

    Raises:
        Unusable: It did not end in time, or says that it could not do its work.
    """
    # What a scanner keeps between runs, it keeps in the folder of this one.
    environment = {**os.environ, "HOME": str(log.parent), "NO_COLOR": "1", "PYTHONPATH": ""}
    with log.open("w") as said:
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                timeout=within_seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as late:
            raise Unusable(f"it did not end within {within_seconds:.0f} s: {log}") from late
    text = log.read_text(errors="replace")
    if done.returncode not in statuses:
        last = " / ".join(text.strip().splitlines()[-LAST_LINES:])
        raise Unusable(f"exit status {done.returncode}: {last}")
    return text
