"""The demo's promises hold on every example project, under its real server."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from cachefence_web.cli import application
from cachefence_web.demo.scenario import Framework

# Databases are seeded and servers started, three times in a test: on a busy machine that takes minutes.
pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(600)]


def promises_hold(framework: Framework, *store: str) -> None:
    few = ("--clients", "60", "--uncached-clients", "3", "--json")
    result = CliRunner().invoke(application(), ["demo", "--framework", framework, *few, *store])
    assert result.exit_code == 0, result.output
    (found,) = json.loads(result.stdout)["frameworks"]
    assert (found["uncached"]["queries"], found["cold"]["queries"], found["again"]["queries"]) == (3, 1, 1)
    assert found["save"]["shown"]


@pytest.mark.parametrize("framework", Framework)
def test_p1_p3_a_crowd_costs_one_query_and_a_save_shows_at_once(framework: Framework) -> None:
    promises_hold(framework)


def test_p1_p3_they_hold_over_processes_that_share_a_redis(redis_url: str) -> None:
    promises_hold(Framework.DJANGO, "--redis", redis_url, "--workers", "2")
