"""What the README and the docs say can be followed: links lead somewhere, code blocks are code."""

from __future__ import annotations

import ast
import re
from itertools import pairwise
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("example_projects/*/README.md")]
)

every_document = pytest.mark.parametrize(
    "document", DOCUMENTS, ids=[path.relative_to(ROOT).as_posix() for path in DOCUMENTS]
)


def tokens(document: Path) -> list[Token]:
    """The document's tokens, those inside paragraphs included."""
    blocks = MarkdownIt("commonmark").enable("table").parse(document.read_text())
    return [token for block in blocks for token in (block, *(block.children or ()))]


def anchors(document: Path) -> set[str]:
    """The names that the document's headings can be linked by."""
    parsed = tokens(document)
    titles = [after.content for token, after in pairwise(parsed) if token.type == "heading_open"]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@every_document
def test_every_link_within_the_project_leads_somewhere(document: Path) -> None:
    targets = [str(token.attrs.get("href") or token.attrs.get("src") or "") for token in tokens(document)]
    for target in targets:
        if not target or re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        found = (document.parent / path).resolve() if path else document
        assert found.exists(), f"{target} leads nowhere"
        assert found.is_relative_to(ROOT), f"{target} leads out of the project"
        assert not anchor or anchor in anchors(found), f"{target}: there is no such heading"


@every_document
def test_every_python_block_is_python(document: Path) -> None:
    for token in tokens(document):
        if token.type == "fence" and token.info.split()[:1] == ["python"]:
            assert token.map is not None
            compile(token.content, f"{document}:{token.map[0] + 1}", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
