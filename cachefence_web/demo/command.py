"""The command `demo`: options in, a screen or JSON out, and an exit code that scripts can trust."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live
from rich.text import Text

from cachefence_web.demo.report import Report
from cachefence_web.demo.run import Plan, tell
from cachefence_web.demo.scenario import REPOSITORY, CannotRun, Framework
from cachefence_web.demo.screen import Board, final, save_picture

BROKEN, COULD_NOT_RUN, INTERRUPTED = 1, 2, 130
MEMORY = "memory://"
OUTPUT = "Output"
WORKERS_ON_REDIS = 4
FRAMES_PER_SECOND = 10
"""The screen is drawn by the same cores that are being measured."""


def demo(
    context: typer.Context,
    framework: Annotated[
        list[Framework] | None,
        typer.Option(metavar="NAME", help=r"django, flask or fastapi; repeatable. \[default: all]"),
    ] = None,
    redis: Annotated[
        str | None, typer.Option(metavar="URL", help="Keep pages in this Redis, not in the server process.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, metavar="N", help=r"Server processes. \[default: 1, with Redis 4]")
    ] = None,
    clients: Annotated[int, typer.Option(min=2, metavar="N", help="Clients that ask at once.")] = 500,
    uncached_clients: Annotated[
        int, typer.Option(min=1, metavar="N", help="As many without the cache; each costs a query.")
    ] = 50,
    as_json: Annotated[
        bool,
        typer.Option("--json", rich_help_panel=OUTPUT, help="One JSON document on stdout."),
    ] = False,
    svg: Annotated[
        Path | None,
        typer.Option(metavar="PATH", rich_help_panel=OUTPUT, help="Save the last screen."),
    ] = None,
) -> None:
    """See [bold]500 clients cost one query[/bold], and a save on the very next page.

    Starts the example projects on this machine, under gunicorn and uvicorn, without the cache and with it.

    Exits with 0 if every promise was kept, 1 if one was not, 2 if it could not run.
    """
    for ending in (signal.SIGTERM, signal.SIGHUP):
        # Under nohup a hang-up is ignored, and stays so.
        if signal.getsignal(ending) is signal.SIG_DFL:
            signal.signal(ending, _interrupt)
    screen, messages = Console(stderr=as_json), Console(stderr=True)
    try:
        plan = Plan(
            frameworks=tuple(dict.fromkeys(framework or Framework)),
            clients=clients,
            uncached_clients=uncached_clients,
            store=redis or MEMORY,
            workers=_workers(workers, redis),
            version=context.obj,
            repository=REPOSITORY,
        )
        _check_folder(svg)
        board = Board(plan)
        with Live(board, console=screen, refresh_per_second=FRAMES_PER_SECOND, transient=True):
            report = tell(plan, board)
        if svg is not None:
            save_picture(report, svg)
    except CannotRun as error:
        messages.print(Text.assemble(("✘ The demo could not run: ", "bold red"), str(error)), soft_wrap=True)
        raise typer.Exit(COULD_NOT_RUN) from error
    except KeyboardInterrupt:
        messages.print(Text("Interrupted: the servers are stopped, their files removed.", style="yellow"))
        raise typer.Exit(INTERRUPTED) from None
    _show(report, screen, as_json=as_json)
    if report.broken:
        raise typer.Exit(BROKEN)


def _workers(wanted: int | None, redis: str | None) -> int:
    if redis is not None:
        return wanted or WORKERS_ON_REDIS
    if wanted is not None and wanted > 1:
        raise CannotRun(f"{wanted} server processes have no store to share: add --redis URL, or drop --workers")
    return 1


def _check_folder(svg: Path | None) -> None:
    if svg is not None and (svg.is_dir() or not svg.resolve().parent.is_dir()):
        raise CannotRun(f"--svg {svg} names a folder, or a file in a folder that is not there: name a file")


def _show(report: Report, screen: Console, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(report.document(), indent=2))
    else:
        screen.print(final(report))


def _interrupt(_signum: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
