"""Makes the virtual environment `.venv` from `requirements.lock`, and does nothing while the lock has not changed.

Another lock and the folder of its environment may be named: `control/install.py requirements-scan.lock .venv-scan`.

It runs before anything is installed, on whatever interpreter was found: standard library only. With `--any` the
environment gets the quickest interpreter of that version on the PATH: the same source, built without the compiler's
profile, takes a quarter more CPU for the same order.
"""

import fcntl
import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
USUAL = ("requirements.lock", ".venv")
OLDEST = (3, 11)

INTERRUPTED = 130
"""What a shell answers for a program that Ctrl-C ended."""

QUICKER = 0.9
"""Of the first interpreter's time: a smaller difference may be the machine's noise."""
ROUNDS = 3
LONGEST_TRIAL_SECONDS = 10
MOST_INTERPRETERS = 5

_PACKAGES_PER_LINE = 15
_KEPT_LINES = 30
_TRIAL = """
import ensurepip, sys, time

class Item:
    def __init__(self, number):
        self.number = number

    def double(self):
        return self.number + self.number

def seconds():
    began, seen = time.process_time(), {}
    for number in range(20_000):
        seen[number % 100] = Item(number).double()
    return time.process_time() - began

print(sys.version_info[:2] == tuple(map(int, sys.argv[1:])), min(seconds() for _ in range(15)), sys.executable)
"""
"""Says whether an interpreter is of our version and can make an environment, and how quick it is."""


class Environment(NamedTuple):
    """A virtual environment, and the lock that says what is in it."""

    lock: Path
    folder: Path

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    @property
    def stamp(self) -> Path:
        """The file that says of which lock it is."""
        return self.folder / ".titan-installed"

    def fingerprint(self) -> str:
        """Return what changes with the lock."""
        return hashlib.sha256(self.lock.read_bytes()).hexdigest()

    def is_current(self) -> bool:
        """Return whether it is there, and of this lock."""
        try:
            return self.stamp.read_text() == self.fingerprint() and self.python.exists()
        except OSError:
            return False


def main() -> int:
    """Install what the lock names; returns the exit status."""
    if sys.version_info < OLDEST:
        print(f"Titan needs Python {OLDEST[0]}.{OLDEST[1]} or newer; {sys.executable} is {sys.version.split()[0]}.")
        return 1
    named = [word for word in sys.argv[1:] if not word.startswith("--")]
    lock, folder = named or USUAL
    environment = Environment(ROOT / lock, ROOT / folder)
    if not environment.lock.exists():
        print(f"{environment.lock.name} is missing: there is nothing to install from.")
        return 1
    if environment.is_current():
        return 0
    try:
        return _install_alone(environment, "--any" in sys.argv[1:])
    except KeyboardInterrupt:
        print("Interrupted; the set-up is not finished: the next make takes it up again.", file=sys.stderr)
        return INTERRUPTED


def _install_alone(environment: Environment, any_will_do: bool) -> int:
    with (ROOT / ".setup.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # a second make waits here instead of installing beside the first
        return 0 if environment.is_current() else _install(environment, any_will_do)


def quickest(named: list) -> str:
    """Return the quickest of some interpreters, the first unless another one is clearly quicker."""
    best: dict = {}
    for _ in range(ROUNDS):  # in turns, so that a busy moment of the machine falls on all of them
        for name in named:
            found = _try(name)
            if found is not None:
                best[found[1]] = min(found[0], best.get(found[1], found[0]))
    if not best:
        return sys.executable
    first, least = next(iter(best)), min(best, key=best.__getitem__)
    return least if best[least] < QUICKER * best[first] else first


def _try(name: str) -> "tuple | None":
    """Return how long an interpreter takes for a fixed piece of work, and which one it is; None where it is no use."""
    command = [name, "-c", _TRIAL, *map(str, sys.version_info[:2])]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_TRIAL_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return None
    answer = done.stdout.split(maxsplit=2)
    return (float(answer[1]), answer[2].strip()) if answer[:1] == ["True"] else None


def _on_path() -> list:
    """Return the interpreters of our version that a shell would find, this one first."""
    name = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    places = [Path(folder, name) for folder in os.environ.get("PATH", "").split(os.pathsep)]
    found = [sys.executable, *(str(place) for place in places if os.access(place, os.X_OK))]
    once = {os.path.realpath(path): path for path in reversed(found)}  # /bin is /usr/bin on most machines
    return sorted(once.values(), key=found.index)[:MOST_INTERPRETERS]


def _install(environment: Environment, any_will_do: bool) -> int:
    started, folder, lock = time.monotonic(), environment.folder, environment.lock
    if not (folder / "bin" / "pip").exists():
        interpreter = quickest(_on_path()) if any_will_do else sys.executable
        print(f"Making {folder.name} with {interpreter}.", flush=True)
        made = subprocess.run([interpreter, "-m", "venv", "--clear", str(folder)], capture_output=True, text=True)
        if made.returncode != 0:
            print((made.stdout + made.stderr).strip())
            print("Could not make a virtual environment. On Debian and Ubuntu: apt install python3-venv.")
            return 1
    wanted = sum(1 for line in lock.read_text().splitlines() if "==" in line and line[:1].isalpha())
    print(f"Installing {wanted} packages into {folder.name}; this is done once per change of {lock.name}.", flush=True)
    # The lock is complete and every file in it is pinned by hash, so the resolver has nothing to decide.
    command = [str(environment.python), "-m", "pip", "install", "--disable-pip-version-check"]
    command += ["--require-hashes", "--no-deps", "--progress-bar", "off", "-r", str(lock)]
    status, output = _run_with_progress(command, wanted)
    if status == 0:
        status, output = _pip_check(environment)
    if status != 0:
        print("\n".join(output[-_KEPT_LINES:]))
        print("The installation failed; what pip said last stands above.")
        return 1
    environment.stamp.write_text(environment.fingerprint())
    print(f"Installed in {time.monotonic() - started:.0f} s.", flush=True)
    return 0


def _run_with_progress(command: list, wanted: int) -> tuple:
    """Run pip and count its packages aloud; returns the exit status and the lines it wrote."""
    lines = []
    seen = 0
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    try:
        for line in process.stdout:
            lines.append(line.rstrip())
            if line.startswith(("Collecting ", "Requirement already satisfied")):
                seen += 1
                if seen % _PACKAGES_PER_LINE == 0:
                    print(f"  fetched {seen} of {wanted}", flush=True)
            elif line.startswith("Installing collected packages"):
                print("  unpacking and compiling", flush=True)
    except KeyboardInterrupt:
        process.terminate()  # from a terminal it was interrupted too; it must not go on beside the next set-up
        process.wait()
        raise
    return process.wait(), lines


def _pip_check(environment: Environment) -> tuple:
    done = subprocess.run([str(environment.python), "-m", "pip", "check"], capture_output=True, text=True)
    return done.returncode, (done.stdout + done.stderr).splitlines()


if __name__ == "__main__":
    sys.exit(main())
