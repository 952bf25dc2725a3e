"""Makes the virtual environment `.venv` from `requirements.lock`, and does nothing while the lock has not changed.

It runs before anything is installed, on whatever interpreter was found: standard library only.
"""

import fcntl
import hashlib
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
VENV = ROOT / ".venv"
OLDEST = (3, 11)

INTERRUPTED = 130
"""What a shell answers for a program that Ctrl-C ended."""

_PACKAGES_PER_LINE = 15
_KEPT_LINES = 30


def main() -> int:
    """Install what the lock names; returns the exit status."""
    if sys.version_info < OLDEST:
        print(f"Titan needs Python {OLDEST[0]}.{OLDEST[1]} or newer; {sys.executable} is {sys.version.split()[0]}.")
        return 1
    if not LOCK.exists():
        print(f"{LOCK.name} is missing: there is nothing to install from.")
        return 1
    if _is_current():
        return 0
    try:
        return _install_alone()
    except KeyboardInterrupt:
        print("Interrupted; the set-up is not finished: the next make takes it up again.", file=sys.stderr)
        return INTERRUPTED


def _install_alone() -> int:
    with (ROOT / ".setup.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # a second make waits here instead of installing beside the first
        return 0 if _is_current() else _install()


def _stamp() -> Path:
    return VENV / ".titan-installed"


def _fingerprint() -> str:
    return hashlib.sha256(LOCK.read_bytes()).hexdigest()


def _is_current() -> bool:
    try:
        return _stamp().read_text() == _fingerprint() and (VENV / "bin" / "python").exists()
    except OSError:
        return False


def _install() -> int:
    started = time.monotonic()
    if not (VENV / "bin" / "pip").exists():
        print(f"Making .venv with {sys.executable} (Python {sys.version.split()[0]}).", flush=True)
        made = subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], capture_output=True, text=True)
        if made.returncode != 0:
            print((made.stdout + made.stderr).strip())
            print("Could not make a virtual environment. On Debian and Ubuntu: apt install python3-venv.")
            return 1
    wanted = sum(1 for line in LOCK.read_text().splitlines() if "==" in line and line[:1].isalpha())
    print(f"Installing {wanted} packages into .venv; this is done once per change of {LOCK.name}.", flush=True)
    # The lock is complete and every file in it is pinned by hash, so the resolver has nothing to decide.
    command = [str(VENV / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check"]
    command += ["--require-hashes", "--no-deps", "--progress-bar", "off", "-r", str(LOCK)]
    status, output = _run_with_progress(command, wanted)
    if status == 0:
        status, output = _pip_check()
    if status != 0:
        print("\n".join(output[-_KEPT_LINES:]))
        print("The installation failed; what pip said last stands above.")
        return 1
    _stamp().write_text(_fingerprint())
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


def _pip_check() -> tuple:
    done = subprocess.run([str(VENV / "bin" / "python"), "-m", "pip", "check"], capture_output=True, text=True)
    return done.returncode, (done.stdout + done.stderr).splitlines()


if __name__ == "__main__":
    sys.exit(main())
