"""A run: servers, players, the nemesis; then everybody stops, and what was written down is gathered."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Self

import psycopg

from tests.guardian import guardian
from tests.histories import company
from tests.histories.company import Life, Tally
from tests.histories.history import Committed, History, reads_in, told_in
from tests.histories.nemesis import Nemesis, children_of
from tests.histories.place import Place, set_up
from tests.servers import RedisServer

ROOT = Path(__file__).parents[2]
PATIENCE = 30.0
"""Seconds for players to end."""


@dataclass(slots=True)
class Player:
    """A part in the run; when one life of it ends, another begins."""

    name: str
    play: Callable[[Life], None]
    writes: bool
    place: int
    life: Life | None = None
    pid: int = 0


@dataclass(slots=True)
class Run:
    """What came of it.

    broken: players that ended with an exception: then nothing is proven.
    """

    history: History
    done: Counter[str]
    seconds: float
    broken: list[str] = field(default_factory=list)


class Company:
    """The players, and the lives they have had."""

    def __init__(self, place: Place, tally: Tally, address: str) -> None:
        self._place = place
        self.deaths: dict[int, int] = {}
        self.broken: list[str] = []
        self.suicides = 0
        self._lives = 0
        self.players = _cast(place, tally, address)

    def begin(self) -> None:
        """Have everybody play who does not."""
        for player in self.players:
            if not player.pid:
                self._lives += 1
                player.life = Life(self._lives, player.place)
                player.pid = company.fork(player.play, player.life)

    def reap(self) -> None:
        """Notice who has died, and of what."""
        for player in self.players:
            if player.pid and (status := company.ended(player.pid)) is not None:
                self._buried(player, status)

    def pids(self, *, writes: bool) -> list[int]:
        """Of those who live."""
        return [player.pid for player in self.players if player.writes is writes and player.pid]

    def end(self) -> None:
        """Everybody finishes what they are at."""
        for player in self.players:
            if player.pid:
                os.kill(player.pid, signal.SIGTERM)
        until = time.monotonic() + PATIENCE
        while any(player.pid for player in self.players):
            self.reap()
            if time.monotonic() > until:
                late = [player for player in self.players if player.pid]
                self.broken += [f"{player.name} does not end" for player in late]
                for player in late:
                    os.kill(player.pid, signal.SIGKILL)
                until += PATIENCE
            time.sleep(0.01)

    def kill(self) -> None:
        """Whoever is left, since something went wrong with the run itself."""
        for pid in [player.pid for player in self.players if player.pid]:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    def _buried(self, player: Player, status: int) -> None:
        assert player.life is not None
        if player.writes:
            self.deaths[player.life.number] = time.monotonic_ns()
        if status == -signal.SIGKILL:
            self.suicides += 1
        elif status not in (0, -signal.SIGTERM):  # a newborn that was told to end does not know how to
            self.broken.append(f"{player.name} ended with status {status}")
        player.pid = 0


def _cast(place: Place, tally: Tally, address: str) -> list[Player]:
    """Who plays what."""
    from tests.histories import alchemy_writing, meddling, reading, writing  # models need settings

    def begun(work: Callable[[Life], None]) -> Callable[[Life], None]:
        def play(life: Life) -> None:
            meddling.meddle(place, f"{place.seed} {life.number}")
            work(life)

        return play

    def in_threads(read: Callable[[Any], None], threads: int) -> Callable[[Life], None]:
        return partial(reading.in_threads, read, threads, place, tally)

    writers: list[tuple[str, Callable[[Life], None]]] = [
        ("django", partial(writing.write, place)), ("django too", partial(writing.write, place)),
        ("sqlalchemy", partial(alchemy_writing.write, place)),
        ("asyncio", partial(alchemy_writing.write_in_a_loop, place))]
    readers: list[tuple[str, Callable[[Life], None]]] = [
        ("handler", in_threads(reading.through_the_handler, 2)),
        ("handler too", in_threads(reading.through_the_handler, 1)),
        ("http", in_threads(partial(reading.over_http, address), 1)),
        ("snapshots", in_threads(reading.within_snapshots, 1)),
        ("sqlalchemy", partial(reading.of_sqlalchemy, place, tally)),
        ("asyncio", partial(reading.in_a_loop, place, tally))]
    return [
        *[Player(f"writer {name}", begun(work), True, 0) for name, work in writers],
        *[Player(f"reader {name}", begun(work), False, number) for number, (name, work) in enumerate(readers, 1)]]


class Gunicorn:
    """The site behind a unix socket, in processes that are born again."""

    def __init__(self, place: Place) -> None:
        self.address = str(place.path / "gunicorn.sock")
        self._place = place

    def __enter__(self) -> Self:
        with (self._place.path / "gunicorn.log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "gunicorn", f"--bind=unix:{self.address}", "--workers=2", "--log-level=error",
                 "--no-control-socket", "tests.histories.served:application"],
                cwd=ROOT, env={**os.environ, **self._place.environment()}, stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, start_new_session=True)
        guardian.watch(self._process.pid, "")
        return self

    def workers(self) -> list[int]:
        """Those that live."""
        return children_of(self._process.pid)

    def __exit__(self, *_: object) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        guardian.forget(self._process.pid)


def play(place: Place, server: RedisServer, *, reads: int, least: float, most: float, evil: float) -> Run:
    """Play until so many reads were made.

    least, most: seconds that it takes, even if they were made sooner, or were not made by then.
    evil: seconds between the deeds of the nemesis, on average; 0 for none.
    """
    set_up(place)
    tally = Tally()
    with ExitStack() as stack:
        _prepare(place)
        stack.callback(_remove, place)
        gunicorn = stack.enter_context(Gunicorn(place))
        players = Company(place, tally, gunicorn.address)
        stack.callback(players.kill)
        gc.freeze()  # what is imported by now is shared with those who are born often
        players.begin()
        nemesis = Nemesis(place, server, partial(players.pids, writes=True), partial(players.pids, writes=False),
                          gunicorn.workers)
        begun, passed = time.monotonic(), 0.0
        next_deed = time.monotonic() + nemesis.rest(evil or 1e9)
        while not players.broken:
            passed = time.monotonic() - begun
            if passed > most or (passed > least and tally.total() >= reads):
                break
            time.sleep(0.01)
            players.reap()
            players.begin()
            nemesis.thaw()
            if evil and time.monotonic() >= next_deed:
                nemesis.act()
                next_deed = time.monotonic() + nemesis.rest(evil)
        nemesis.close()
        players.end()
        history = _gathered(place, nemesis, players)
    nemesis.done["deaths by SIGKILL, all in all"] = players.suicides
    return Run(history, nemesis.done, passed, players.broken)


def _prepare(place: Place) -> None:
    """The database with its tables, triggers and rows: made by a child, so that nothing is connected here."""
    with psycopg.connect(host=place.host, user="postgres", dbname="postgres", autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{place.database}"')
        connection.execute(f'ALTER DATABASE "{place.database}" SET deadlock_timeout = \'100ms\'')

    def fill(_: Life) -> None:
        from django.core.management import call_command
        from django.db import connection

        from tests.histories.models import LOGGING, Register, Shelf
        from tests.histories.place import ROWS, SHELVES

        call_command("migrate", run_syncdb=True, verbosity=0)
        with connection.cursor() as cursor:
            cursor.execute(LOGGING)
        Shelf.objects.bulk_create([Shelf(pk=shelf) for shelf in SHELVES])
        Register.objects.bulk_create([Register(pk=row, shelf_id=row % len(SHELVES) + 1) for row in ROWS])

    pid = company.fork(fill, Life(0, 0))
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
        raise RuntimeError("the database could not be made: see above")


def _remove(place: Place) -> None:
    with psycopg.connect(host=place.host, user="postgres", dbname="postgres", autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{place.database}" WITH (FORCE)')


def _gathered(place: Place, nemesis: Nemesis, players: Company) -> History:
    with psycopg.connect(host=place.host, user="postgres", dbname=place.database) as connection:
        rows = connection.execute("SELECT thing, version, token FROM histories_log ORDER BY id").fetchall()
    return History(
        reads=list(reads_in(place.path)), told=list(told_in(place.path)), committed=[Committed(*row) for row in rows],
        deaths=players.deaths, losses=nemesis.losses, pauses=nemesis.pauses, life=int(place.life * 1e9))


def new_folder() -> Path:
    """For the files of a run."""
    return Path(mkdtemp(prefix="histories-"))


def new_name() -> str:
    """That nobody else has."""
    return f"histories_{uuid.uuid4().hex[:10]}"


def forget(folder: Path) -> None:
    """Remove the files of a run."""
    shutil.rmtree(folder, ignore_errors=True)
