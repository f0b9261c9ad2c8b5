"""Cache-Status says how an answer came, in Structured Fields (RFC 9211)."""

from __future__ import annotations

import math

import http_sf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachefence_web.http import (
    Collapsed,
    Forward,
    Forwarded,
    Hit,
    Outcome,
    Reason,
    Refusal,
    ResponsePolicy,
    Shown,
    cache_status,
    response_key,
)
from tests.http.build import BY_HEADERS, NOW, SHARED, ask, stored, values

OUTCOMES: list[tuple[Outcome, bytes]] = [
    (Hit(3.0, 47.1), b"cachefence; hit; ttl=47"),
    (Hit(3.0, -0.5), b"cachefence; hit; ttl=-1"),
    (Hit(3.0, None), b"cachefence; hit"),
    (Hit(3.0, math.inf), b"cachefence; hit; ttl=999999999999999"),
    (Hit(3.0, -math.inf), b"cachefence; hit; ttl=-999999999999999"),
    (Collapsed(), b"cachefence; fwd=miss; collapsed"),
    (Forwarded(Forward.MISS, stored=True), b"cachefence; fwd=miss; stored"),
    (Forwarded(Forward.VARY_MISS, stored=True), b"cachefence; fwd=vary-miss; stored"),
    (Forwarded(Forward.REQUEST), b"cachefence; fwd=request"),
    (Forwarded(Forward.STALE), b"cachefence; fwd=stale"),
    (Forwarded(Forward.STALE, stored=True, status=304), b"cachefence; fwd=stale; fwd-status=304; stored"),
    (Forwarded(Forward.BYPASS, detail=Reason.AUTHORIZATION), b"cachefence; fwd=bypass; detail=authorization"),
    (Forwarded(Forward.METHOD, detail=Reason.METHOD), b"cachefence; fwd=method; detail=method"),
    (Refusal(Reason.ONLY_IF_CACHED), b"cachefence; detail=only-if-cached"),
]


@pytest.mark.parametrize(("outcome", "expected"), OUTCOMES, ids=[said.decode() for _, said in OUTCOMES])
def test_it_says_how_the_answer_came(outcome: Outcome, expected: bytes) -> None:
    assert cache_status(outcome) == expected
    assert cache_status(outcome, "k") == expected + b'; key="k"'


def _parameters(value: bytes) -> dict[str, object]:
    parsed = http_sf.parse(value, tltype="list")
    assert isinstance(parsed, list)
    (member,) = parsed
    assert isinstance(member, tuple)
    name, parameters = member
    assert name == "cachefence"
    return dict(parameters)


@pytest.mark.parametrize("reason", list(Reason))
@pytest.mark.parametrize("forward", list(Forward))
def test_every_word_of_it_is_a_token(forward: Forward, reason: Reason) -> None:
    said = _parameters(cache_status(Forwarded(forward, stored=True, detail=reason, status=200), "k"))
    assert {name: str(value) for name, value in said.items()} == {
        "fwd": forward, "fwd-status": "200", "stored": "True", "detail": reason, "key": "k",
    }
    assert isinstance(said["fwd"], http_sf.Token)


@given(st.text(alphabet=st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=200))
def test_any_key_comes_through_its_quotes(key: str) -> None:
    assert _parameters(cache_status(Hit(1.0, 1.0), key))["key"] == key


@pytest.mark.parametrize("policy", [SHARED, BY_HEADERS], ids=["policy", "headers"])
def test_it_is_added_after_what_is_there(policy: ResponsePolicy) -> None:
    kept = stored("Cache-Control: max-age=9", "Cache-Status: inner; hit", policy=policy)
    served = Shown(policy, None, NOW).serve(ask(), kept, Hit(3.0, 47.1))
    assert values(served, b"cache-status") == [b"inner; hit", b"cachefence; hit; ttl=47"]


@pytest.mark.parametrize(
    "asked",
    [
        ask(), ask(path=b'/"quoted"', query=b"a=\\"), ask("X: \"a\\\""), ask(path=b"/\r\nSet-Cookie: a=1"),
        ask(query=b"q" * 999), ask("X: a\r\nY: b"),
    ],
    ids=["plain", "quotes", "a quoted field", "new lines", "long", "new lines in a field"],
)
def test_p11_the_key_is_told_only_on_demand_and_injects_nothing(asked: object) -> None:
    for shows in (False, True):
        policy = ResponsePolicy(vary_on=("X",), shows_key=shows)
        key = response_key(asked, policy)  # type: ignore[arg-type]
        served = Shown(policy, key, NOW).serve(ask(), stored(policy=policy), Hit(3.0, 47.1))
        (said,) = values(served, b"cache-status")
        assert _parameters(said).get("key") == (key if shows else None)
        assert b"\r" not in said
        assert b"\n" not in said
