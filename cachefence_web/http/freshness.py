"""How old a response is and how long it is fresh, for a shared cache (RFC 9111 section 4.2).

Where a field is broken or contradicts itself, the response is older and its life shorter.
"""

from __future__ import annotations

import math

from cachefence_web.http.cache_control import Directives, delta_seconds, seconds
from cachefence_web.http.dates import parse_date
from cachefence_web.http.message import Headers, lines

LONGEST_GUESS = 86_400.0
"""Seconds for which freshness is guessed at most."""

_GUESSED_PART = 0.1
# RFC 9110 section 15.1, but for 206, of which nothing is kept.
_HEURISTICALLY_CACHEABLE = frozenset({200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501})


def initial_age(headers: Headers, *, now: float) -> float:
    """The age in seconds at its arrival (RFC 9111 section 4.2.3), the way it took not counted.

    now: Unix seconds of the arrival. An Age that is repeated, a list or no number is `math.inf`: RFC 9111
    section 5.1 would allow the first of a list, but whoever wrote it is not to be trusted with the rest.
    """
    date = _date(headers, now)
    apparent = 0.0 if date is None else max(0.0, now - date)
    ages = lines(headers, b"age")
    if not ages:
        return apparent
    age = ages[0].strip(b" \t")
    if len(ages) > 1 or not age.isdigit():
        return math.inf
    return max(apparent, float(delta_seconds(age)))


def explicit_lifetime(headers: Headers, said: Directives, *, now: float, targeted: bool = False) -> float | None:
    """The seconds of freshness that the response grants from its making, None if it does not say.

    s-maxage, then max-age, then Expires less Date (RFC 9111 section 4.2.1).

    said: its directives.
    now: Unix seconds of the arrival, which stand in for a Date that is missing or broken.
    targeted: whether `said` is a targeted field, which silences Expires (RFC 9213 section 2.2).
    """
    for name in (b"s-maxage", b"max-age"):
        if (said_seconds := seconds(said, name)) is not None:
            return float(said_seconds)
    expires = set(lines(headers, b"expires"))
    if targeted or not expires:
        return None
    until = parse_date(expires.pop(), now=now) if len(expires) == 1 else None
    if until is None:
        return 0.0
    date = _date(headers, now)
    return max(0.0, until - (now if date is None else date))


def heuristic_lifetime(status: int, headers: Headers, said: Directives, *, now: float) -> float | None:
    """The seconds of freshness guessed for a response that grants none itself (RFC 9111 section 4.2.2).

    A tenth of the time that it had been as it is when it was sent, at most a day; None where guessing is not
    allowed or there is nothing to guess from.

    now: Unix seconds of the arrival.
    """
    if status not in _HEURISTICALLY_CACHEABLE and b"public" not in said:
        return None
    modified = _only_date(lines(headers, b"last-modified"), now)
    date = _date(headers, now)
    sent = now if date is None else date
    if modified is None or modified > min(sent, now):
        return None
    return min((sent - modified) * _GUESSED_PART, LONGEST_GUESS)


def _date(headers: Headers, now: float) -> float | None:
    return _only_date(lines(headers, b"date"), now)


def _only_date(values: list[bytes], now: float) -> float | None:
    return parse_date(values[0], now=now) if len(set(values)) == 1 else None
