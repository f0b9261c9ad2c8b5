"""A scenario is what its file says, and what is wrong with the file is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from cachefence_web.demo.scenario import REPOSITORY, CannotRun, Edit, Framework, find_project, read_scenario


@pytest.mark.parametrize("framework", Framework)
def test_every_example_says_what_the_demo_does_with_it(framework: Framework) -> None:
    scenario = read_scenario(find_project(framework, REPOSITORY))
    assert scenario.before != scenario.after
    assert scenario.before in str(scenario.undo)
    assert scenario.after not in str(scenario.undo)
    assert scenario.undo != scenario.edit


def test_undoing_an_edit_changes_its_text_and_leaves_the_rest() -> None:
    edit = Edit("PATCH", "/books/1", json={"title": "New: a novel", "pages": 300})
    assert edit.restoring("Old", "New") == Edit("PATCH", "/books/1", json={"title": "Old: a novel", "pages": 300})


def test_without_the_examples_the_error_says_to_clone(tmp_path: Path) -> None:
    with pytest.raises(CannotRun, match=r"Clone the repository.*pip install -e"):
        find_project(Framework.FLASK, tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "truncated"),
        ('{"title": "x"}', "required field `page`"),
        ('{"edit": {"method": "PUT", "path": "/"}}', 'either "form" or "json"'),
    ],
)
def test_a_broken_scenario_is_named_with_what_is_wrong(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "scenario.json").write_text(text)
    with pytest.raises(CannotRun, match=said):
        read_scenario(tmp_path)
