"""The supervisor starts in stages, restarts what dies, says what is wrong, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from control import commands, daemon
from control.daemon import AlreadyRunning
from control.home import Home, HomeUnusable, Ports
from control.servers.ports import free_port
from control.spawn import Program, StartFailed
from control.supervised import NICENESS, Process, State, Supervised
from control.supervisor import Plan, Refused, Stage, Supervisor
from tests.priorities import niceness_of, own_niceness

SLEEPER = "import signal, sys; print('up', flush=True); signal.pause()"


def process(folder: Path, name: str, script: str = SLEEPER, *, stop_order: int = 0, **more: object) -> Process:
    """A tiny process that is ready once it has written `up`."""
    log = folder / f"{name}.log"

    def ready() -> bool:
        return log.exists() and "up" in log.read_text()

    program = Program(name=name, command=[sys.executable, "-S", "-c", script], log=log, ready=ready, stop_seconds=0.7)
    return Process(program, stop_order=stop_order, **more)  # type: ignore[arg-type]


def plan_of(*stages: Sequence[Process], **more: object) -> Plan:
    """A plan with these processes, stage by stage."""
    listed = [Stage(f"stage {number}", processes=lambda them=them: them) for number, them in enumerate(stages)]
    return Plan(**{"ports": {}, **more}, stages=listed)  # type: ignore[arg-type]


@asynccontextmanager
async def running(plan: Plan) -> AsyncIterator[Supervisor]:
    """A started supervisor, stopped at the end."""
    supervisor = Supervisor(plan)
    await supervisor.start()
    try:
        yield supervisor
    finally:
        await supervisor.stop()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that happens by itself."""
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


def alive(pid: int) -> bool:
    """Say whether a process exists and is no zombie."""
    try:
        return "Z" != Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


async def test_a_process_that_dies_is_restarted_and_counted(tmp_path: Path):
    """The status tells how it ended and how often; its new process id is published."""
    published: list[int | None] = []
    plan = plan_of([process(tmp_path, "worker")], publish=lambda them: published.append(them[0].pid))
    async with running(plan) as supervisor:
        worker = supervisor.processes["worker"]
        first = worker.pid
        supervisor.kill("worker")
        await until(lambda: worker.restarts == 1 and worker.pid is not None)

        (row,) = (await supervisor.status())["processes"]
        assert worker.pid not in (None, first)
        assert ("signal SIGKILL", 1, "running") == (row["last_end"], row["restarts"], row["state"])
        assert worker.pid == published[-1]


async def test_a_process_goes_first_until_it_works(tmp_path: Path):
    """Also when it starts again; afterwards all of its threads are as patient as everybody else's."""
    mine = own_niceness(below=20 - NICENESS)
    aside = mine + NICENESS
    gate = tmp_path / "gate"
    script = f"""
import os, pathlib, signal, threading, time
threading.Thread(target=signal.pause, daemon=True).start()
while not os.path.exists({str(gate)!r}):
    time.sleep(0.01)
print("up", flush=True)
signal.pause()
"""
    gate.touch()
    log = tmp_path / "worker.log"
    async with running(plan_of([process(tmp_path, "worker", script)])) as supervisor:
        worker = supervisor.processes["worker"]
        assert [aside] * 2 == niceness_of(worker.pid)
        gate.unlink()
        log.write_text("")
        supervisor.kill("worker")
        await until(lambda: worker.restarts == 1 and worker.pid is not None)
        await asyncio.sleep(0.3)
        assert {mine} == set(niceness_of(worker.pid))
        gate.touch()
        await until(lambda: [aside] * 2 == niceness_of(worker.pid))


async def test_a_process_that_keeps_dying_is_restarted_later_and_later(tmp_path: Path):
    """A broken process does not use up the machine: 0.1, 0.2, 0.4 seconds and so on."""
    marker = tmp_path / "broken"
    script = f"import os, sys; os.path.exists({str(marker)!r}) and sys.exit(7); {SLEEPER}"
    async with running(plan_of([process(tmp_path, "worker", script)])) as supervisor:
        worker = supervisor.processes["worker"]
        marker.touch()
        begun = asyncio.get_running_loop().time()
        supervisor.kill("worker")
        await until(lambda: worker.restarts == 3)
        waited = asyncio.get_running_loop().time() - begun

        assert waited >= 0.1 + 0.2 + 0.4
        await until(lambda: worker.state is State.BACKOFF)
        assert "status 7" == worker.last_end


async def test_a_restart_that_was_asked_for_waits_for_nothing(tmp_path: Path):
    """It ends in an orderly way and is back at once."""
    async with running(plan_of([process(tmp_path, "worker")])) as supervisor:
        worker = supervisor.processes["worker"]
        supervisor.restart("worker")
        await until(lambda: worker.restarts == 1 and worker.pid is not None)

        assert "signal SIGTERM" == worker.last_end


async def test_what_is_held_stays_down_until_it_is_released(tmp_path: Path):
    """A dependency can be away for as long as somebody wants; nobody brings it back meanwhile."""
    async with running(plan_of([process(tmp_path, "worker")])) as supervisor:
        worker = supervisor.processes["worker"]
        await supervisor.hold("worker")
        await until(lambda: worker.state is State.HELD)
        assert worker.pid is None
        assert worker.last_end == "signal SIGKILL"

        supervisor.release("worker")

        await until(lambda: worker.pid is not None)
        assert worker.restarts == 1
        supervisor.kill("worker")
        await until(lambda: worker.restarts == 2 and worker.pid is not None)


async def test_a_process_that_has_just_died_is_held_before_it_starts_again(tmp_path: Path):
    """Whoever was told that it is down must not meet it a moment later."""
    marker = tmp_path / "broken"
    script = f"import os, sys; os.path.exists({str(marker)!r}) and sys.exit(7); {SLEEPER}"
    async with running(plan_of([process(tmp_path, "worker", script)])) as supervisor:
        worker = supervisor.processes["worker"]
        marker.touch()
        supervisor.kill("worker")
        await until(lambda: worker.restarts == 2 and worker.state is State.BACKOFF)

        await supervisor.hold("worker")

        await until(lambda: worker.state is not State.BACKOFF)
        assert (State.HELD, None, 2) == (worker.state, worker.pid, worker.restarts)
        marker.unlink()
        supervisor.release("worker")
        await until(lambda: worker.pid is not None)


async def test_a_mesh_stops_with_a_process_that_is_held(tmp_path: Path):
    """Nothing waits for the release of what is not wanted any more."""
    async with running(plan_of([process(tmp_path, "worker")])) as supervisor, asyncio.timeout(5):
        worker = supervisor.processes["worker"]
        await supervisor.hold("worker")
        await until(lambda: worker.state is State.HELD)
    assert worker.state is State.STOPPED


async def test_a_taken_port_stops_the_start_before_anything_runs(tmp_path: Path):
    """The message names the port, who wanted it, and the way out."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        supervisor = Supervisor(plan_of([process(tmp_path, "worker")], ports={"postgres": port, "kafka": free_port()}))
        refusal = rf"nothing was started: port {port} \(postgres\) of 127\.0\.0\.1 is taken .*TITAN_PORT_BASE"
        with pytest.raises(StartFailed, match=refusal):
            await supervisor.start()

    assert not (tmp_path / "worker.log").exists()


async def test_a_failed_start_shows_the_log_and_leaves_nothing(tmp_path: Path):
    """What had been started before the failure is stopped again."""
    broken = process(tmp_path, "broken", "import sys; print('no such table'); sys.exit(3)")
    steady = process(tmp_path, "steady")
    supervisor = Supervisor(plan_of([steady], [broken]))
    pids: list[int] = []

    async def note() -> None:
        await until(lambda: "steady" in supervisor.processes and supervisor.processes["steady"].pid is not None)
        pids.append(supervisor.processes["steady"].pid or 0)

    noting = asyncio.create_task(note())
    with pytest.raises(StartFailed, match=r"(?s)broken ended with status 3\. The end of .*no such table"):
        await supervisor.start()
    await noting

    assert pids and not alive(pids[0])


async def test_down_stops_in_order_and_leaves_nothing(tmp_path: Path):
    """Services drain before the servers that they write to are stopped; a deaf process is killed."""
    order = tmp_path / "order"
    script = (
        "import signal, sys\n"
        f"def end(*_): open({str(order)!r}, 'a').write('NAME\\n'); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end); print('up', flush=True)\n"
        "while True: signal.pause()"
    )
    deaf = script.replace("SIGTERM, end", "SIGTERM, signal.SIG_IGN")
    processes = [
        process(tmp_path, "server", script.replace("NAME", "server"), stop_order=2),
        process(tmp_path, "service", script.replace("NAME", "service"), stop_order=0),
        process(tmp_path, "deaf", deaf, stop_order=1),
    ]
    async with running(plan_of(processes)) as supervisor:
        pids = [each.pid for each in supervisor.processes.values()]

    assert ["service", "server"] == order.read_text().split()
    assert not any(alive(pid) for pid in pids if pid is not None)
    assert "killed: did not end within 1 s" == supervisor.processes["deaf"].last_end


async def test_replicas_join_when_healthy_and_leave_before_they_end(tmp_path: Path):
    """Callers never meet a replica that is not there."""
    told: list[str] = []

    def replica(package: str, number: int) -> Process:
        return process(tmp_path, f"{package}.{number}", package=package, replica=number)

    async def leave(leaving: Process) -> None:
        told.append(f"leave {leaving.name} while {supervisor.processes[leaving.name].state}")

    plan = plan_of(
        [process(tmp_path, "svc_x", package="svc_x")],
        replica=replica,
        join=lambda it: told.append(f"join {it.name}"),
        leave=leave,
    )
    async with running(plan) as supervisor:
        await supervisor.scale("svc_x", 2)
        assert ["svc_x", "svc_x.1"] == list(supervisor.processes)
        await supervisor.scale("svc_x", 1)
        assert ["svc_x"] == list(supervisor.processes)
        with pytest.raises(Refused, match="there is no package svc_y"):
            await supervisor.scale("svc_y", 2)

    assert ["join svc_x.1", "leave svc_x.1 while running"] == told


async def test_children_of_a_killed_process_die_with_it(tmp_path: Path):
    """A supervisor that is killed takes its processes with it."""
    child = tmp_path / "child"
    script = (
        "import sys, signal, pathlib; from control import spawn; from control.spawn import Program\n"
        f"p = Program(name='c', command=['sleep', '60'], log=pathlib.Path({str(tmp_path / 'c.log')!r}), ready=bool)\n"
        f"open({str(child)!r}, 'w').write(str(spawn.start(p).pid)); print('up', flush=True); signal.pause()"
    )
    parent = Supervised(process(tmp_path, "parent", script))
    await parent.start(ready_seconds=5)
    pid = int(child.read_text())
    # The promise is made by setpriv, just before it becomes the program.
    await until(lambda: Path(f"/proc/{pid}/comm").read_text() == "sleep\n")
    parent.signal(signal.SIGKILL)

    await until(lambda: not alive(pid))
    await parent.stop()


def test_a_home_has_one_supervisor_and_remembers_one_that_was_cut_off(tmp_path: Path):
    """The lock goes with the process, however it ends; the process id that stays behind tells of a crash."""
    home = Home(tmp_path, Ports())
    home.create()
    with daemon.sole_holder(home) as crashed:
        assert not crashed
        assert f"{os.getpid()}\n" == home.supervisor_pid.read_text()
        with pytest.raises(AlreadyRunning), daemon.sole_holder(home):
            pass
    home.supervisor_pid.write_text("1\n")
    with daemon.sole_holder(home) as crashed:
        assert crashed


def test_a_home_that_is_too_long_for_sockets_is_refused():
    """The message says what to do, where a bind would only say that the path is too long."""
    with pytest.raises(HomeUnusable, match="set TITAN_HOME to a shorter path"):
        Home.from_environment({"TITAN_HOME": "/tmp/" + "x" * 100})
    with pytest.raises(HomeUnusable, match="TITAN_PORT_BASE is 'http'"):
        Home.from_environment({"TITAN_HOME": "/tmp/x", "TITAN_PORT_BASE": "http"})


@pytest.mark.parametrize(
    ("phase", "ill", "verdict", "code"),
    [
        ("ready", (), "ready", 0),
        ("ready", ("svc_order", "svc_cart"), "degraded: svc_cart and svc_order", 1),
        ("starting", ("svc_order",), "starting", 1),
    ],
)
def test_the_last_line_of_the_status_names_who_is_ill(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    phase: str,
    ill: Sequence[str],
    verdict: str,
    code: int,
) -> None:
    """A mesh that has started is not ready while one of its processes is not healthy."""
    row = {
        "hosts": [],
        "address": "",
        "state": "running",
        "pid": 1,
        "memory_bytes": 2_000_000,
        "restarts": 0,
        "last_end": "",
    }
    answer = {
        "phase": phase,
        "profile": "default",
        "processes": [row | {"name": n, "healthy": n not in ill} for n in ("mesh_envoy", "svc_cart", "svc_order")],
    }
    monkeypatch.setattr(commands.remote, "ask", lambda *_: answer)

    assert code == commands.status(Home(tmp_path, Ports(1)))
    last = capsys.readouterr().out.splitlines()[-1]
    assert f"{verdict}, profile default, 3 processes, 6 MB resident" == last


async def test_a_password_is_replaced_when_everything_is_ready_and_the_rest_is_told(tmp_path: Path):
    """What outside programs are told has passwords in it, also where a replacement was broken off."""
    replaced: list[str] = []
    published: list[list[str]] = []

    async def replace(name: str) -> None:
        replaced.append(name)
        if name != "redis":
            raise Refused("is not replaced yet")

    plan = plan_of(replace_password=replace, publish=lambda _: published.append(list(replaced)))
    early = Supervisor(plan)
    with pytest.raises(Refused, match="not ready"):
        await early.replace_password("redis")
    async with running(plan) as supervisor:
        await supervisor.replace_password("redis")
        with pytest.raises(Refused, match="is not replaced yet"):
            await supervisor.replace_password("database_svc_cart")

    assert [[], ["redis"], ["redis", "database_svc_cart"]] == published
