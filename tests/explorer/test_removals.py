"""Taken out, every check breaks a promise, and the search finds how: so the search can be believed, and the checks."""

from __future__ import annotations

import pytest

from tests.explorer.cluster_removals import CLUSTER_REMOVALS
from tests.explorer.removals import BY_SCOPE, REMOVALS
from tests.explorer.scopes import SCOPES
from tests.explorer.search import Explored, exhaust


@pytest.mark.parametrize("name", [*REMOVALS, *CLUSTER_REMOVALS])
def test_p2_to_p5_break_without(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    removal = (REMOVALS | CLUSTER_REMOVALS)[name]
    monkeypatch.setattr(removal.where, removal.check, removal.instead)
    found = exhaust(removal.scope.world(), seconds=60)
    assert found.violation, f"nothing in {found.states} states needs this check"
    assert found.violation.startswith(removal.breaks) or removal.breaks in found.violation, found.story()


@pytest.mark.parametrize("name", [name for name in REMOVALS if REMOVALS[name].scope not in SCOPES.values()])
def test_p2_to_p5_hold_with(name: str) -> None:
    found = exhaust(REMOVALS[name].scope.world(), seconds=60)
    assert found.complete, found.story()


@pytest.mark.parametrize("name", BY_SCOPE)
def test_p3_and_p4_break_without_a_step(name: str) -> None:
    assert exhaust(BY_SCOPE[name].world(), seconds=60).violation


def test_a_counterexample_is_told_step_by_step() -> None:
    found = exhaust(BY_SCOPE["a correction is said"].world(), seconds=60)
    assert isinstance(found, Explored)
    assert found.story().splitlines()[0].startswith("stale: r1 was given a in version 0")
    assert "w commits a" in found.story()
