"""The logs of a mesh that runs for weeks stay within a bound."""

from __future__ import annotations

from pathlib import Path

from control import logs


def test_a_log_that_grew_too_large_is_moved_aside_under_its_writer(tmp_path: Path) -> None:
    """The writer goes on in the same file; of what was moved aside the last is kept, and small logs stay."""
    log, small = tmp_path / "svc_order.log", tmp_path / "valkey.log"
    small.write_text("up\n")
    with log.open("ab", buffering=0) as writer:
        for line in (b"first\n", b"second\n"):
            writer.write(line * 10)
            logs.bound(tmp_path, largest_bytes=20)
        writer.write(b"third\n")

    assert "third\n" == log.read_text()
    assert "second\n" * 10 == (tmp_path / "svc_order.log.1").read_text()
    assert ["svc_order.log", "svc_order.log.1", "valkey.log"] == sorted(file.name for file in tmp_path.iterdir())
