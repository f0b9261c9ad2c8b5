"""What a view or a rule can say of its responses, and what it is told if that cannot work."""

from __future__ import annotations

import pytest

from cachefence_web.errors import ConfigurationError
from cachefence_web.http import ResponsePolicy


@pytest.mark.parametrize("option", ["vary_on", "targeted"])
@pytest.mark.parametrize(
    "names",
    ["Accept", ("*",), ("Accept Language",), ("",), (b"accept",), ("naïve",), 7, ("a\r\nb",), ("a:",)],
    ids=["a string", "a star", "a space", "empty", "bytes", "not ascii", "a number", "a new line", "a colon"],
)
def test_names_that_are_no_field_names_are_refused_at_once(option: str, names: object) -> None:
    with pytest.raises(ConfigurationError, match=option):
        ResponsePolicy(**{option: names})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "names",
    ["utm_source", ("*",), ("a=b",), ("a&b",), ("utm_*_x",), ("",), (b"a",), 7, ("a b",), ("a#",)],
    ids=["a string", "a star", "a value", "two", "a star within", "empty", "bytes", "a number", "a space", "a hash"],
)
def test_query_parameters_that_cannot_be_ignored_are_refused_at_once(names: object) -> None:
    with pytest.raises(ConfigurationError, match="ignored_query"):
        ResponsePolicy(ignored_query=names)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"cookies": "drop"}, r"'bypass', 'apart' or 'ignore'.*vary_on=\('Cookie',\)"),
        ({"freshness": "guess"}, "'policy' or 'headers'"),
        ({"browser_ttl": -1}, "browser_ttl"),
        ({"browser_ttl": "60"}, "browser_ttl"),
        ({"browser_ttl": float("inf")}, "browser_ttl"),
        ({"browser_ttl": float("nan")}, "browser_ttl"),
        ({"browser_ttl": True}, "browser_ttl"),
        ({"vary_on": "Accept"}, r"write \('Accept',\)"),
        ({"ignored_query": "page"}, r"write \('page',\)"),
    ],
    ids=str,
)
def test_what_cannot_work_is_refused_with_what_can(options: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        ResponsePolicy(**options)  # type: ignore[arg-type]


def test_the_case_and_order_of_vary_on_mean_nothing() -> None:
    assert ResponsePolicy(vary_on=("B", "a", "b")) == ResponsePolicy(vary_on=("A", "B"))
    assert ResponsePolicy(vary_on=("B", "a")).vary_on == ("a", "b")


def test_the_order_of_targeted_fields_is_their_precedence() -> None:
    assert ResponsePolicy(targeted=("Z-Cache-Control", "A-Cache-Control", "z-cache-control")).targets == (
        b"z-cache-control", b"a-cache-control",
    )


@pytest.mark.parametrize(
    ("policy", "cookies"),
    [
        (ResponsePolicy(), "bypass"),
        (ResponsePolicy(freshness="headers"), "ignore"),
        (ResponsePolicy(freshness="headers", cookies="apart"), "apart"),
        (ResponsePolicy(cookies="ignore"), "ignore"),
    ],
    ids=["policy", "headers", "headers with a rule", "policy with a rule"],
)
def test_what_is_done_with_cookies_follows_from_who_decides_unless_it_is_said(
    policy: ResponsePolicy, cookies: str
) -> None:
    assert policy.cookies == cookies


@pytest.mark.parametrize(
    ("policy", "same"),
    [
        (ResponsePolicy(cookies="ignore"), True),
        (ResponsePolicy(cookies="ignore", vary_on=("accept-language",)), True),
        (ResponsePolicy(), False),
        (ResponsePolicy(cookies="apart"), False),
        (ResponsePolicy(cookies="ignore", vary_on=("authorization",)), False),
        (ResponsePolicy(cookies="ignore", vary_on=("cookie",)), False),
        (ResponsePolicy(cookies="ignore", vary_on=("_user",)), False),
    ],
    ids=["ignored", "by language", "bypass", "apart", "by token", "by cookie", "by an adapter's own"],
)
def test_p11_only_what_tells_no_visitors_apart_is_the_same_for_all(policy: ResponsePolicy, same: bool) -> None:
    assert policy.same_for_all is same
