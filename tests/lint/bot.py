"""REDbot asks for a page in its many ways, in a process of its own: `python -m tests.lint.bot URL` prints its notes."""

from __future__ import annotations

import json
import sys
from configparser import ConfigParser

import thor
from redbot.resource import HttpResource  # type: ignore[import-untyped]


def check(url: str) -> list[list[str]]:
    """Level, class and summary of each note, of the first answer and of all that followed from it."""
    parser = ConfigParser()
    parser.read_dict({"redbot": {"enable_local_access": "True"}})
    page = HttpResource(parser["redbot"])
    page.set_request(url)
    page.on("check_done", thor.stop)
    page.check()
    thor.run()
    notes = [*page.response.notes, *(note for each in page.subreqs.values() for note in each.response.notes)]
    return [[note.level.value, type(note).__name__, str(note.summary)] for note in notes]


if __name__ == "__main__":
    sys.stdout.write(json.dumps(check(sys.argv[1])))
