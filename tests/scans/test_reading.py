"""The reports of the scanners, as they read them: what was found, and that nothing was when nothing was looked at."""

from __future__ import annotations

import json

from tests.scans import components, slow, source, sql
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


# sqlmap

SAID = "[12:00:00] [INFO] testing 'AND boolean-based blind'\n" * sql.LEAST_TESTS
CLEAN = f"{SAID}[12:00:09] [CRITICAL] all tested parameters do not appear to be injectable.\n"
TRAFFIC = "".join(f"HTTP request [#{number}]:\nGET / HTTP/1.1\n\n" for number in range(sql.LEAST_REQUESTS))


def test_a_place_that_is_read_as_text_is_all_right() -> None:
    assert judge(sql.read("an order's id", CLEAN, TRAFFIC), []).holds


def test_a_place_that_was_not_tried_has_failed() -> None:
    assert not judge(sql.read("an order's id", CLEAN, ""), []).holds
    assert not judge(sql.read("an order's id", "[CRITICAL] unable to connect to the target URL\n", TRAFFIC), []).holds


def test_a_place_that_is_read_as_sql_is_found() -> None:
    said = f"{SAID}sqlmap identified the following injection point(s):\n---\nParameter: q (GET)\n"

    (finding,) = sql.read("what is searched for", said, TRAFFIC).findings
    assert ("what is searched for is read as SQL", "q (GET)") == (finding.name, finding.told)


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
