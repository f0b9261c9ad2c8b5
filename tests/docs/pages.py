"""A page of docs/migrating, block by block: what is shown for this package, and what is shown of the other one."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "docs" / "migrating"
_FENCED = re.compile(r"^```(\w+)( before)?\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Page:
    """A page's blocks in their order.

    ours: Python that is to be run, settings first.
    theirs: Python for the other package, settings first.
    templates, before_templates: what is shown of them for this package, and for the other.
    commands: of `manage.py`, their words.
    """

    name: str
    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    templates: tuple[str, ...]
    before_templates: tuple[str, ...]
    commands: tuple[tuple[str, ...], ...]

    @classmethod
    def read(cls, name: str) -> Page:
        """The page of this name.

        Raises:
            ValueError: for a block in a language that no test runs.
        """
        blocks = _FENCED.findall((FOLDER / name).read_text())
        if odd := {language for language, *_ in blocks} - {"python", "django", "sh"}:
            raise ValueError(f"{name} shows {odd}, which nobody runs")
        shown = {key: tuple([text for language, before, text in blocks if (language, bool(before)) == key])
                 for key in (("python", False), ("python", True), ("django", False), ("django", True), ("sh", False))}
        lines = [shlex.split(line) for text in shown["sh", False] for line in text.splitlines()]
        return cls(name, shown["python", False], shown["python", True], shown["django", False],
                   shown["django", True], tuple([tuple(line[2:]) for line in lines]))

    def settings(self, block: int = 0, *, before: bool = False) -> dict[str, Any]:
        """What a block of settings sets."""
        return run((self.theirs if before else self.ours)[block], {})


def run(text: str, names: Mapping[str, Any]) -> dict[str, Any]:
    """The names there are after these lines, those of earlier blocks among them."""
    after = dict(names)
    exec(compile(ast.parse(text), "docs/migrating", "exec"), after)  # noqa: S102 (it is our own)
    return {name: value for name, value in after.items() if name != "__builtins__"}
