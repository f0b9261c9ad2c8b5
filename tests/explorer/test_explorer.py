"""Every interleaving of the real plans keeps the promises P1 to P5 and P8; `EXPLORE_SECONDS=600` looks further."""

from __future__ import annotations

import os

import pytest

from tests.explorer.cluster_scopes import CLUSTER, WIDE_CLUSTER
from tests.explorer.scopes import SCOPES
from tests.explorer.scopes import WIDE as WIDE_ALONE
from tests.explorer.search import exhaust, wander

WIDE = WIDE_ALONE | WIDE_CLUSTER
SECONDS = float(os.environ.get("EXPLORE_SECONDS", "0"))
"""CPU time to spend on each wide scope; 0: a few seconds, so that the suite stays quick."""


@pytest.mark.parametrize("name", SCOPES)
def test_p1_to_p5_hold_in_every_state_of_a_scope(name: str) -> None:
    found = exhaust(SCOPES[name].world(), seconds=max(60.0, SECONDS))
    assert not found.violation, found.story()
    assert found.complete, f"{found.states} states were not all: make the scope smaller"


@pytest.mark.parametrize("name", CLUSTER)
def test_p1_to_p5_hold_where_dates_and_keys_are_on_two_servers(name: str) -> None:
    found = exhaust(CLUSTER[name].world(), seconds=max(60.0, SECONDS))
    assert not found.violation, found.story()
    assert found.complete, f"{found.states} states were not all: make the scope smaller"


@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", WIDE)
def test_p1_to_p5_hold_as_far_as_the_search_gets_in_a_wide_scope(name: str) -> None:
    found = exhaust(WIDE[name].world(), seconds=SECONDS or 0.5)
    assert not found.violation, found.story()


@pytest.mark.timeout(0)
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", WIDE)
def test_p1_to_p5_hold_on_random_walks(name: str, seed: int) -> None:
    found = wander(WIDE[name].world, seconds=SECONDS or 0.15, seed=seed)
    assert found.states
    assert not found.violation, found.story()
