"""`python -m control`: the commands of a local mesh. TITAN_HOME and TITAN_PORT_BASE say which one."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from control.home import Home, HomeUnusable

INTERRUPTED = 130
"""What a shell answers for a program that Ctrl-C ended."""

_GOES_ON = {"up": "the mesh is still starting: make down", "down": "the mesh is still stopping: make status"}
"""What the supervisor goes on with after Ctrl-C: it hears nothing of it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        return _run(options, Home.from_environment())
    except HomeUnusable as problem:
        print(problem, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        if options.command in _GOES_ON:
            print(f"Interrupted; {_GOES_ON[options.command]}", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # `make status | head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m control", description="Run a mesh on this machine.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in (("up", "start it in the background"), ("serve", "run it in the foreground")):
        command = commands.add_parser(name, help=text)
        command.add_argument("--profile", help="whose rate limits the edge applies; `up` takes a running mesh as it is")
    command = commands.add_parser("profile", help="say whether there is such a profile; needs nothing installed")
    command.add_argument("profile")
    commands.add_parser("down", help="stop it")
    command = commands.add_parser("status", help="show what runs")
    command.add_argument("--json", action="store_true", help="for programs")
    command = commands.add_parser("logs", help="show the ends of the logs")
    command.add_argument("name", nargs="?", help="one process")
    command.add_argument("-n", "--lines", type=int, default=20)
    command.add_argument("-f", "--follow", action="store_true", help="go on printing")
    command = commands.add_parser("scale", help="set the number of a package's replicas")
    command.add_argument("package")
    command.add_argument("replicas", type=int)
    command = commands.add_parser("restart", help="end a process in an orderly way and start it again")
    command.add_argument("name")
    command.add_argument("settings", nargs="*", metavar="NAME=VALUE", help="in its environment, this once")
    command = commands.add_parser("kill", help="send a process a signal")
    command.add_argument("name")
    command.add_argument("signal", nargs="?", default="SIGKILL")
    command = commands.add_parser("hold", help="end a process with a signal and leave it down")
    command.add_argument("name")
    command.add_argument("signal", nargs="?", default="SIGKILL")
    command = commands.add_parser("release", help="start a process that is held down")
    command.add_argument("name")
    command = commands.add_parser("rotate", help="give everybody a new certificate, or replace one password")
    command.add_argument("password", nargs="?", help="the name of its file: redis, database_svc_order ...")
    return parser


def _run(options: argparse.Namespace, home: Home) -> int:
    from control import commands
    from control.remote import Refused

    try:
        match options.command:
            case "up":
                return commands.up(home, options.profile)
            case "profile":
                return commands.check_profile(options.profile)
            case "down":
                return commands.down(home)
            case "status":
                return commands.status(home, as_json=options.json)
            case "logs":
                return commands.logs(home, options.name, lines=options.lines, follow=options.follow)
            case "scale":
                request = {"do": "scale", "package": options.package, "replicas": options.replicas}
                return commands.ask(home, request, f"{options.package} has {options.replicas} replicas.")
            case "restart":
                environment = dict(setting.partition("=")[::2] for setting in options.settings)
                request = {"do": "restart", "name": options.name, "environment": environment}
                return commands.ask(home, request, f"{options.name} restarts.")
            case "kill":
                request = {"do": "kill", "name": options.name, "signal": options.signal}
                return commands.ask(home, request, f"{options.name} was sent {options.signal}.")
            case "hold":
                request = {"do": "hold", "name": options.name, "signal": options.signal}
                return commands.ask(home, request, f"{options.name} is down until it is released.")
            case "release":
                return commands.ask(home, {"do": "release", "name": options.name}, f"{options.name} starts.")
            case "rotate" if options.password:
                request = {"do": "replace password", "name": options.password}
                return commands.ask(home, request, f"{options.password} is another one.")
            case "rotate":
                return commands.ask(home, {"do": "rotate"}, "Everybody has a new certificate.")
    except Refused as problem:
        print(problem, file=sys.stderr)
        return 1
    return _serve(home, options.profile or commands.DEFAULT_PROFILE)


def _serve(home: Home, profile: str) -> int:
    from control import daemon
    from control.processes import plan

    return daemon.run(home, profile, plan)


if __name__ == "__main__":
    sys.exit(main())
