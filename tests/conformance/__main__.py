"""Run the public HTTP caching suite against the middleware's RFC mode and look at what came out.

    python -m tests.conformance                   a table of the numbers, and each test that did not pass
    python -m tests.conformance --all             ... and each that did
    python -m tests.conformance --id ID [--id ID] one test: each request, what reached the origin, each answer
    python -m tests.conformance --suite vary      the tests of one suite (its id; `--all` lists the ids)
    python -m tests.conformance --kind required   only what is required (or optimal, check) among the tests listed
    python -m tests.conformance --save FILE       the outcome of each test as JSON
    python -m tests.conformance --against FILE    only what differs from a saved run

    --parser h11|httptools    uvicorn's parser; httptools if not given
    --cache URL               the middleware's cache; memory:// if not given
    --no-cache                no middleware: what a bare origin gets
    --dated                   the origin sends a Date, as servers that stand alone do; a plain ASGI application does not
    --base URL                an origin that runs already, instead of ours
    --log                     print what the server logged (with --id it is always printed)

The suite comes from npm on the first run, into the folder for temporary files; HTTP_CACHE_TESTS names another copy.
A line of the trace marked `>` left the client, `<` came back to it; `origin` lines are what got through.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tests.conformance import extra, suite
from tests.conformance.kinds import KINDS, Outcome
from tests.conformance.served import Served
from tests.conformance.suite import Test

COLOURS = {Outcome.PASSED: "green", Outcome.FAILED: "red", Outcome.SETUP_FAILED: "blue"}
console = Console(highlight=False, width=None if sys.stdout.isatty() else 180)


def main() -> int:
    """Run what the command line asks for; 1 if the suite cannot be run."""
    options = _options()
    given = os.environ.get("HTTP_CACHE_TESTS")
    with ExitStack() as stack:
        try:
            folder = Path(given) if given else suite.install(suite.shared_folder())
            server = None
            if options.base is None:
                server = stack.enter_context(Served(
                    options.parser, cache=None if options.no_cache else options.cache, dated=options.dated))
            tests = suite.run(folder, options.base or (server.url if server else ""), ids=options.id,
                              extra=extra.suites(), trace=bool(options.id))
        except (suite.SuiteUnavailable, RuntimeError) as failure:
            console.print(escape(str(failure)), style="red")
            return 1
        if options.id:
            for test in tests:
                _show(test)
        else:
            _report(tests, options)
        if server and (options.log or options.id):
            console.rule("server log")
            console.print(escape(server.log()))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter, usage=argparse.SUPPRESS)
    for flag in ("--all", "--no-cache", "--dated", "--log"):
        parser.add_argument(flag, action="store_true", help=argparse.SUPPRESS)
    for name in ("--suite", "--base"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    for name in ("--save", "--against"):
        parser.add_argument(name, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--id", action="append", help=argparse.SUPPRESS)
    parser.add_argument("--kind", choices=KINDS, help=argparse.SUPPRESS)
    parser.add_argument("--parser", choices=("httptools", "h11"), default="httptools", help=argparse.SUPPRESS)
    parser.add_argument("--cache", default="memory://", help=argparse.SUPPRESS)
    return parser.parse_args()


def _report(tests: Sequence[Test], options: argparse.Namespace) -> None:
    outcomes = {test.id: test.outcome.value for test in tests}
    if options.save:
        options.save.write_text(json.dumps(outcomes, indent=1, sort_keys=True))
    if options.against:
        before = json.loads(options.against.read_text())
        for name in sorted(before.keys() | outcomes.keys()):
            if before.get(name) != outcomes.get(name):
                console.print(f"{name}: {before.get(name)} -> {outcomes.get(name)}")
    else:
        _list([test for test in tests if (options.all or not test.passed)
               and options.suite in (None, test.suite) and options.kind in (None, test.kind)])
    _totals(tests)


def _list(tests: Sequence[Test]) -> None:
    table = Table("suite", "kind", "outcome", "id", "why", box=None, pad_edge=False)
    for test in tests:
        colour = COLOURS.get(test.outcome, "yellow")
        table.add_row(test.suite, test.kind, f"[{colour}]{test.outcome}[/]", test.id, escape(test.detail))
    console.print(table)


def _totals(tests: Sequence[Test]) -> None:
    table = Table("", *Outcome, "of", title="The suite without Surrogate-Control, and what counts apart")
    rows = [("", suite.counted(tests))]
    rows += [(name, [test for test in tests if test.suite == name])
             for name in dict.fromkeys(test.suite for test in tests if suite.apart(test))]
    for name, these in rows:
        for kind, counted in suite.counts(these).items():
            if counted:
                table.add_row(f"{name} {kind}".strip(), *[str(counted[outcome]) for outcome in Outcome],
                              str(counted.total()))
    console.print(table)


def _show(test: Test) -> None:
    console.rule(f"{test.id} ({test.kind}): {test.outcome}")
    console.print(escape(test.name))
    console.print(escape(test.detail), style="red")
    for number, exchange in enumerate(test.trace["exchanges"], 1):
        console.print(f"\n[bold]{number}[/] wants {escape(json.dumps(_wanted(test.trace['steps'][number - 1])))}")
        _message(f"> {exchange['method']} {exchange['target']}", exchange["request"], "  > ", "cyan")
        seen = [request for request in test.trace["seen"] if request["request_num"] == number]
        for asked in seen:
            _message(f"  origin {asked['request_method']}", list(asked["request_headers"].items()), "    > ", "dim")
            _message(f"  origin {asked.get('status')}", asked.get("sent", []), "    < ", "dim")
        if not seen:
            console.print("  the origin was not asked", style="dim")
        _message(f"< {exchange['status']} {exchange['body']!r}", exchange["response"], "  < ", "green")


def _wanted(step: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in step.items()
            if name.startswith(("expected", "check", "setup", "pause", "disconnect"))}


def _message(first: str, headers: Sequence[Sequence[str]], mark: str, style: str) -> None:
    console.print(escape(first), style=style)
    for name, value in headers:
        console.print(escape(f"{mark}{name}: {value}"), style=style)


if __name__ == "__main__":
    sys.exit(main())
