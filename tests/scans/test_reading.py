"""The reports of the scanners, as they read them: what was found, and that nothing was when nothing was looked at."""

from __future__ import annotations

import json

from tests.scans import components, slow, source, tls
from tests.scans.report import Report, judge


def names(report: Report) -> list[str]:
    return [finding.name for finding in report.findings]


# bandit


def bandit(*, files: int = 400, **more: object) -> str:
    metrics = {"_totals": {"loc": 1}, **{f"./mesh/{number}.py": {"loc": 100} for number in range(files)}}
    return json.dumps({"errors": [], "metrics": metrics, "results": [], **more})


def test_bandit_reads_lines_and_files() -> None:
    report = source.read(bandit())

    assert judge(report, []).holds
    assert "40,000 lines, 400 files" == report.totals()


def test_bandit_of_nothing_has_failed() -> None:
    assert not judge(source.read(bandit(files=0)), []).holds


def test_bandit_names_rule_and_file() -> None:
    """Not the line, which moves with every change above it."""
    found = {
        "test_id": "B608",
        "filename": "./mesh/a.py",
        "line_number": 7,
        "issue_severity": "MEDIUM",
        "issue_text": "?",
    }

    assert ["B608 mesh/a.py"] == names(source.read(bandit(results=[found])))


def test_a_file_that_bandit_cannot_read_is_a_failure() -> None:
    assert not judge(source.read(bandit(errors=[{"filename": "a.py", "reason": "syntax error"}])), []).holds


# sslyze

SUITES = {"accepted_cipher_suites": [], "rejected_cipher_suites": [{}] * 30}
EXAMINED = {f"{version}_cipher_suites": SUITES for version in ("ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1", "tls_1_2")}
HELD = '    Checking results against Mozilla\'s "modern" configuration.\n\n    localhost:1: OK - Compliant.\n'


def server(**results: object) -> str:
    others = {name: {} for name in tls.COMMANDS[5:]}
    parts = {
        name: {"status": "COMPLETED", "error_reason": None, "result": result}
        for name, result in {**EXAMINED, **others, **results}.items()
    }
    return json.dumps({"server_scan_results": [{"scan_result": parts}]})


def test_a_server_that_was_examined_and_is_as_the_profile_has_it_is_all_right() -> None:
    assert judge(tls.read("edge", server(), HELD), []).holds


def test_sslyze_that_reached_nobody_has_failed() -> None:
    assert not judge(tls.read("edge", json.dumps({"server_scan_results": []}), HELD), []).holds
    assert not judge(tls.read("edge", json.dumps({"server_scan_results": [{"scan_result": None}]}), HELD), []).holds
    assert not judge(tls.read("edge", server(), "SCANS COMPLETED\n"), []).holds


def test_what_is_weak_in_tls_is_found() -> None:
    old = {"accepted_cipher_suites": [{}], "rejected_cipher_suites": [{}] * 29}
    bled = {"is_vulnerable_to_heartbleed": True}
    said = f"{HELD}        * ciphers: Cipher suites {{'RC4'}} are supported.\n"

    report = tls.read("edge", server(tls_1_0_cipher_suites=old, heartbleed=bled), said)

    assert ["edge: it speaks tls_1_0", "edge: heartbleed", "edge: ciphers"] == names(report)


def test_an_examination_that_broke_is_found() -> None:
    broken = {
        "server_scan_results": [{"scan_result": {"robot": {"status": "ERROR", "error_reason": "X", "result": {}}}}]
    }

    assert ["edge: robot ended in X"] == names(tls.read("edge", json.dumps(broken), HELD))


# slowhttptest

HEAD = "Seconds,Closed,Pending,Connected,Service Available\n"
ENDED = "\x1b[1;32mExit status:\x1b[0m \x1b[1;34mNo open connections left\x1b[0m\n"
GOES_ON = "Exit status: Hit test time limit\n"


def test_connections_that_are_hung_up_on_are_all_right() -> None:
    table = f"{HEAD}0,0,1,0,0\n1,0,40,60,200\n5,0,0,200,200\n12,150,0,50,200\n"

    report = slow.read("slow heads", table, ENDED)

    assert judge(report, []).holds
    assert "200 connections" == report.totals()


def test_an_attack_that_opened_nothing_has_failed() -> None:
    assert not judge(slow.read("slow heads", HEAD, ENDED), []).holds
    assert not judge(slow.read("slow heads", f"{HEAD}0,0,1,0,0\n9,0,200,0,200\n", ENDED), []).holds


def test_connections_that_nobody_ends_are_found() -> None:
    table = f"{HEAD}0,0,1,0,0\n5,0,0,200,200\n40,0,0,200,200\n"

    assert ["slow bodies: nobody hangs up"] == names(slow.read("slow bodies", table, GOES_ON))


def test_a_slow_reader_may_go_on() -> None:
    """It may be on a bad line; nobody else waits for it."""
    table = f"{HEAD}0,0,1,0,0\n5,0,0,200,200\n40,0,0,200,200\n"

    assert judge(slow.read("slow reading", table, GOES_ON), []).holds


def test_an_edge_that_serves_nobody_else_is_found() -> None:
    table = f"{HEAD}0,0,1,0,0\n5,0,0,200,200\n6,0,0,200,0\n12,200,0,0,200\n"

    (finding,) = slow.read("slow heads", table, ENDED).findings
    assert ("slow heads: nobody else is served", "after 6 s") == (finding.name, finding.told)


# cyclonedx-bom

LOCK = "# by make lock\nredis[hiredis]==5.0 \\\n    --hash=sha256:00\nPy_YAML==6.1 \\\n    --hash=sha256:01\n"


def component(name: str, version: str, **more: object) -> dict[str, object]:
    hashes = [{"alg": "SHA-256", "content": "00"}]
    return {"name": name, "version": version, "purl": f"pkg:pypi/{name}@{version}", "hashes": hashes, **more}


def listed(*components: dict[str, object]) -> str:
    return json.dumps({"bomFormat": "CycloneDX", "components": components})


def test_the_list_has_what_the_lock_has() -> None:
    assert judge(components.read(listed(component("redis", "5.0"), component("py-yaml", "6.1")), LOCK), []).holds


def test_an_empty_list_has_failed() -> None:
    assert not judge(components.read(listed(), LOCK), []).holds
    assert not judge(components.read(listed(), "# nothing\n"), []).holds


def test_another_version_is_found() -> None:
    report = components.read(listed(component("redis", "4.9"), component("py-yaml", "6.1")), LOCK)

    assert ["redis is in the lock and not in the list"] == names(report)


def test_a_component_without_a_hash_is_found() -> None:
    report = components.read(listed(component("redis", "5.0", hashes=[]), component("py-yaml", "6.1")), LOCK)

    assert ["redis has no address or no hash in the list"] == names(report)
