"""`manage.py cachefence`: each action prints for people, or JSON; what goes wrong is one line, and status 1.

JSON is ASCII, and alone on the output.

Only `explain`, which runs a view, and `drain`, which asks databases, mind a running event loop; all else may be called
from asynchronous code.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
from collections.abc import Iterable
from typing import Any, TextIO, cast

from django.core.cache import caches
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError
from django.utils.module_loading import import_string

from cachefence_web.django.administration import (
    Finding,
    Inspected,
    Stats,
    as_data,
    doctor,
    drained,
    inspect,
    reach,
    stats,
)
from cachefence_web.django.alias import entry_of
from cachefence_web.django.backend import RedisCache
from cachefence_web.django.explaining import explain, lines_of_explained
from cachefence_web.django.progressing import progressing
from cachefence_web.errors import CacheFenceError
from cachefence_web.runtime.outboxes import Busy

_MOST_PENDING = 10
_MARKS = {"ok": "SUCCESS", "warning": "WARNING", "error": "ERROR"}


class Command(BaseCommand):
    """The command."""

    help = "Look into the cache, invalidate tags, and find out what is wrong with it."
    requires_system_checks: list[str] = []  # noqa: RUF012 (as Django has it; a doctor must not need a healthy patient)

    def add_arguments(self, parser: CommandParser) -> None:
        """One parser for each action; all of them know --cache and --json."""
        common = CommandParser(add_help=False)
        common.add_argument("--cache", metavar="ALIAS", help="an alias of CACHES; 'default' if it is not given")
        common.add_argument("--json", action="store_true", help="print JSON")
        actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

        def action(name: str, text: str) -> argparse.ArgumentParser:
            made: argparse.ArgumentParser = actions.add_parser(name, help=text, description=text, parents=[common])
            return made

        numbers = action("stats", "Tell what the store holds, for all processes; walks the names of all entries.")
        numbers.add_argument("--sample", type=_positive, default=10_000, metavar="COUNT",
                             help="read so many of the entries as well, for their states, sizes and tags (10000)")
        keys = action("keys", "List the keys that match a glob; walks the whole namespace.")
        keys.add_argument("pattern", nargs="?", default="*")
        keys.add_argument("--limit", type=_positive, help="stop after so many")
        one = action("inspect", "Tell what stands under a key, and why it is served or not.")
        one.add_argument("key")
        for each in (keys, one):
            each.add_argument("--key-version", type=int, help="the version of the key; VERSION if it is not given")
        action("invalidate", "Forbid everything that carries one of the tags.").add_argument("tags", nargs="+")
        action("clear", "Forget all that the alias has stored, at once, and free its memory.")
        page = action("explain", "Ask for a page past the cache: which rows and tables it depends on, and by which"
                                 " statements. -v 2 shows those to their end.")
        page.add_argument("url", help="/books/1/, or with a host of the site's: https://shop.example/books/1/")
        page.add_argument("--user", metavar="NAME", help="ask as this user, logged in")
        action("drain", "Tell the store of the commits that wait in the outboxes of the databases; for a cron job.")
        action("doctor", "Run the system checks and try the cache; of all aliases, if none is given.")

    def handle(self, *_: Any, **options: Any) -> None:
        """Do it.

        Raises:
            CommandError: for whatever cannot be done.
        """
        try:
            if options["action"] == "doctor":
                self._doctor(options)
                return
            if options["action"] == "explain":
                found = explain(options["url"], options["user"])
                self._print(as_data(found), lines_of_explained(found, whole=options["verbosity"] > 1), options)
                return
            backend = _backend(options["cache"] or "default")
            if not entry_of(backend).raw.exists:
                self.stderr.write("memory:// is each process's own: this is about the one of this command.")
            if options["action"] == "drain":
                self._drain(backend, options)
                return
            reach(backend)
            getattr(self, f"_{options['action']}")(backend, options)
        except CacheFenceError as refused:
            raise CommandError(str(refused)) from refused
        except DatabaseError as failed:
            raise CommandError(f"a database could not be asked: {failed}") from failed
        except KeyboardInterrupt:
            raise CommandError("interrupted", returncode=130) from None
        except BrokenPipeError:
            is_programs_own = cast("object", self.stdout._out) is sys.stdout
            if not is_programs_own:
                raise
            # Whoever reads has had enough, as `head` does; at its exit Python would write once more.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def _stats(self, backend: RedisCache, options: dict[str, Any]) -> None:
        with self._progress("entries", options) as tell:
            found = stats(backend, tell, options["sample"])
        self._print(as_data(found), _lines_of_stats(found), options)

    def _keys(self, backend: RedisCache, options: dict[str, Any]) -> None:
        seen: dict[str, None] = {}
        walk = backend.iter_keys(options["pattern"], version=options["key_version"])
        new = (key for key in walk if key not in seen)
        with self._progress("keys", options, alone=not self.stdout.isatty()) as tell:
            for key in itertools.islice(new, options["limit"]):
                seen[key] = None
                if not options["json"]:
                    self.stdout.write(_printable(key))
                tell(len(seen))
        if options["json"]:
            self._print(list(seen), [], options)

    def _inspect(self, backend: RedisCache, options: dict[str, Any]) -> None:
        found = inspect(backend, options["key"], options["key_version"])
        self._print(as_data(found), _lines_of_inspected(found), options)
        if found.state == "missing":
            raise CommandError(f"there is nothing under {found.key!r}, which is called {found.name!r} in the store")

    def _invalidate(self, backend: RedisCache, options: dict[str, Any]) -> None:
        tags = options["tags"]
        backend.invalidate_tags(*tags)
        self._print({"invalidated": tags}, [f"Invalidated {', '.join(tags)}."], options)

    def _clear(self, backend: RedisCache, options: dict[str, Any]) -> None:
        backend.clear()
        with self._progress("entries", options) as tell:  # here, for this process is about to end
            backend.fence.sweep(progress=tell)
        namespace = backend.fence.namespace
        self._print({"cleared": namespace}, [f"Cleared the namespace {namespace}."], options)

    def _drain(self, backend: RedisCache, options: dict[str, Any]) -> None:
        try:
            found = drained(backend)
        except Busy as busy:
            raise CommandError(str(busy)) from busy
        lines = [f"{alias}: told of {count:,} commits." for alias, count in found.items()] \
            or ["No database has an outbox: DATABASE_ROUTERS migrate the app cachefence to none."]
        self._print({"drained": found}, lines, options)

    def _doctor(self, options: dict[str, Any]) -> None:
        only = options["cache"]
        backends: dict[str, RedisCache] = {}
        for alias in [only] if only else _ours():
            try:
                backends[alias] = _backend(alias)
            except CommandError:
                if only and only not in _ours():
                    raise
                continue  # the checks will say so
        found = list(doctor(backends, only))
        if not backends and not found:
            found.append(Finding("CACHES", "error", "no alias has this backend",
                                 'Give one "BACKEND": "cachefence_web.django.RedisCache".'))
        lines = [self._line_of_finding(each) for each in found]
        self._print([as_data(each) for each in found], lines, options)
        errors = sum(each.level == "error" for each in found)
        if errors:
            raise CommandError(f"errors found: {errors}")

    def _line_of_finding(self, found: Finding) -> str:
        mark = getattr(self.style, _MARKS[found.level])(found.level)
        return f"{mark} {found.what}: {found.text}" + (f"\n    {found.hint}" if found.hint else "")

    def _progress(self, what: str, options: dict[str, Any], *, alone: bool = True) -> Any:
        """alone: whether nothing else is written to the terminal meanwhile."""
        silent = options["json"] or options["verbosity"] == 0 or not alone
        return progressing(what, cast("TextIO", self.stderr._out), silent=silent)

    def _print(self, data: Any, lines: Iterable[str], options: dict[str, Any]) -> None:
        if options["json"]:
            self.stdout.write(json.dumps(data, indent=2))
            return
        for line in lines:
            self.stdout.write(line)


def _lines_of_stats(found: Stats) -> list[str]:
    rows: list[tuple[str, str]] = [
        ("namespace", f"{found.namespace}, in epoch {found.epoch}"), ("store", found.store),
        ("entries", f"{found.entries:,}, of which {found.pages:,} are pages"),
    ]
    if found.structures:
        rows.append(("structures", f"{found.structures:,} sets and hashes of Redis, which are no entries"))
    if found.sampled < found.entries:
        rows.append(("sample", f"{found.sampled:,} entries, of which the following is said"))
    rows += [("bytes", f"{found.payload_bytes:,} of values"), ("endless", f"{found.endless:,}")]
    rows += [(state, f"{count:,}") for state, count in sorted(found.states.items())]
    rows.append(("tags", f"{found.tags_in_all:,}, of which {len(found.pending):,} wait for the end of a commit"))
    rows += [("tag", f"{_printable(tag)}  on {count:,}") for tag, count in found.tags.items()]
    rows += [("waiting", _printable(tag)) for tag in found.pending[:_MOST_PENDING]]
    rows += [("server", f"{name} {value:,}" if isinstance(value, int) else f"{name} {value}")
             for name, value in found.server.items()]
    return [f"{name:<12} {text}" for name, text in rows]


def _lines_of_inspected(found: Inspected) -> list[str]:
    if found.state == "missing":
        return []
    if found.state == "structure":
        life = "no end" if found.fresh_for is None else f"{found.fresh_for:.1f} s"
        return [f"key      {_printable(found.key)}", f"name     {_printable(found.name)}",
                f"state    a {found.kind} of Redis, which is no value and has no tags", f"life     {life}",
                f"value    {found.value}"]
    ends = "no end" if found.fresh_for is None else f"{found.fresh_for:.1f} s"
    stale = f", then stale for {found.stale_for:.1f} s" if found.stale_for else ""
    took = f", computed in {found.compute:.3f} s" if found.compute else ""
    return [
        f"key      {_printable(found.key)}", f"name     {_printable(found.name)}",
        f"state    {found.state}, {found.age:.1f} s old",
        f"life     {ends}{stale}, unless it is invalidated" if found.state != "invalidated" else "life     over",
        f"value    {found.value}", f"bytes    {found.payload_bytes:,} ({found.kind}){took}",
        *[f"tag      {_printable(tag)}  {verdict}" for tag, verdict in found.tags.items()],
    ]


def _printable(text: str) -> str:
    """The text itself, or as JSON has it if a terminal would make something else of it."""
    return text if text.isprintable() else json.dumps(text)


def _backend(alias: str) -> RedisCache:
    if alias not in caches.settings:
        raise CommandError(f"{alias!r} is no alias of CACHES; there are {', '.join(map(repr, caches.settings))}")
    try:
        backend = caches[alias]
        if isinstance(backend, RedisCache):
            entry_of(backend)
    except Exception as refused:  # whatever it is that Django cannot make it for
        raise CommandError(str(refused)) from refused
    if not isinstance(backend, RedisCache):
        raise CommandError(f'CACHES["{alias}"] is a {type(backend).__qualname__}, and no'
                           " cachefence_web.django.RedisCache; name another with --cache")
    return backend


def _ours() -> list[str]:
    """The aliases of this backend."""
    found = []
    for alias, entry in caches.settings.items():
        try:
            kind = import_string(entry["BACKEND"])
        except ImportError:
            continue
        if isinstance(kind, type) and issubclass(kind, RedisCache):
            found.append(alias)
    return found


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("is at least 1")
    return number
