"""A policy that cannot work is refused when it is made, with words that say what would."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from cachefence_web.core.policy import Consistency, Policy
from cachefence_web.errors import CacheFenceError, ConfigurationError


@pytest.mark.parametrize(("option", "value", "words"), [
    ("ttl", 0, "positive number of seconds.*delete"),
    ("ttl", -1, "positive"),
    ("ttl", float("nan"), "finite"),
    ("ttl", float("inf"), "ttl=None"),
    ("ttl", 0.0005, "at least a millisecond"),
    ("ttl", "60", "number of seconds or a timedelta"),
    ("ttl", True, "number of seconds or a timedelta"),
    ("ttl", timedelta(0), "positive"),
    ("ttl", 1e12, "under ten years"),
    ("stale_for", -1, "stale_for is a positive"),
    ("stale_for", None, "stale_for is a number"),
    ("stale_if_error", float("inf"), "finite"),
    ("early", -1, "early is a number from 0"),
    ("early", True, "early is a number from 0"),
    ("jitter", 1.5, "from 0 to 1"),
    ("jitter", "much", "from 0 to 1"),
    ("lease", 0, "positive"),
    ("lease", None, "lease is a number"),
    ("wait", 0, "positive"),
    ("soft_timeout", 0, "positive"),
    ("negative_ttl", 0, "positive"),
    ("l1_ttl", [], "number of seconds"),
    ("sliding", "yes", "sliding is True or False"),
    ("consistency", "exact", "'committed', 'strict', 'eventual'"),
])
def test_a_value_that_cannot_work_is_refused_by_name(option: str, value: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        Policy.of({option: value})
    with pytest.raises(ValueError, match=words):
        Policy().but({option: value})


def test_an_unknown_option_is_answered_with_the_nearest_known() -> None:
    with pytest.raises(ConfigurationError, match=r"'colour'.*options are ttl"):
        Policy.of({"colour": 1})
    with pytest.raises(CacheFenceError, match="did you mean 'stale_for'"):
        Policy().but({"stale_fo": 1})


def test_an_unhashable_value_is_named_too() -> None:
    with pytest.raises(ConfigurationError, match="ttl is a number"):
        Policy().but({"ttl": {}})


def test_a_call_may_say_without_end_where_others_slide() -> None:
    assert Policy(sliding=True).but({"ttl": None}).ttl is None


def test_durations_are_kept_as_seconds_whatever_they_came_as() -> None:
    policy = Policy(ttl=timedelta(minutes=1), stale_for=5, lease=1)  # type: ignore[arg-type]
    assert (policy.ttl, policy.stale_for, policy.lease) == (60.0, 5.0, 1.0)
    assert isinstance(policy.stale_for, float)


def test_a_policy_is_changed_by_a_copy_and_consistency_may_be_text() -> None:
    policy = Policy()
    changed = policy.but({"consistency": "strict", "ttl": None})
    assert (changed.consistency, changed.ttl) == (Consistency.STRICT, None)
    assert policy == Policy()
    assert policy.but({}) is policy
