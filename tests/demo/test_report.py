"""The verdict follows from the numbers, and from nothing else."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from cachefence_web.demo.report import Answer, Burst, Finding, Report, Save, counted
from cachefence_web.demo.scenario import Framework

UNCACHED = Burst(20, 20, 4.0, {})
CROWD = Burst(500, 1, 0.3, {})
KEPT = Finding(Framework.FLASK, "gunicorn", 1, UNCACHED, CROWD, Save(True, 0.2), CROWD)


def report(finding: Finding) -> Report:
    return Report("1.0", "memory://", 2, (finding,))


def test_a_report_of_kept_promises_says_what_they_cost() -> None:
    assert report(KEPT).broken == []
    assert report(KEPT).verdict == "500 clients on cold pages cost 1 query; every save showed at once."


@pytest.mark.parametrize(
    ("finding", "said"),
    [
        (replace(KEPT, cold=Burst(500, 2, 0.3, {})), "500 clients on a cold page cost 2 queries, not one"),
        (replace(KEPT, cold=Burst(500, 0, 0.3, {})), "500 clients on a cold page cost 0 queries, not one"),
        (replace(KEPT, cold=Burst(500, 1, 0.3, {"status 500": 3})), "3 of 500 clients on a cold page got status 500"),
        (replace(KEPT, save=Save(False, 0.2)), "the request right after a save did not show it"),
        (replace(KEPT, again=Burst(500, 9, 0.3, {})), "500 clients right after a save cost 9 queries, not one"),
    ],
)
def test_each_broken_promise_is_named(finding: Finding, said: str) -> None:
    assert report(finding).broken == [f"Flask: {said}"]
    assert said in report(finding).verdict
    assert report(finding).document()["kept"] is False


def test_a_burst_counts_its_failures_and_lasts_until_its_last_answer() -> None:
    answers = [Answer(0.1), Answer(0.9, "status 500"), Answer(0.4), Answer(0.5, "status 500")]
    assert Burst.of(answers, queries=3) == Burst(4, 3, 0.9, {"status 500": 2})


def test_the_document_is_json_with_every_number() -> None:
    document = json.loads(json.dumps(report(KEPT).document()))
    (flask,) = document["frameworks"]
    assert document["kept"] is True
    assert (flask["framework"], flask["cold"]["queries"], flask["uncached"]["clients"]) == ("flask", 1, 20)
    assert flask["save"] == {"shown": True, "seconds": 0.2}


@pytest.mark.parametrize(
    ("number", "noun", "words"),
    [(1, "query", "1 query"), (1000, "query", "1,000 queries"), (2, "core", "2 cores"), (4, "process", "4 processes")],
)
def test_numbers_agree_with_their_nouns(number: int, noun: str, words: str) -> None:
    assert counted(number, noun) == words
