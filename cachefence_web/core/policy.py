"""What a caller wants of a cached value, as one frozen value, checked when it is made."""

from __future__ import annotations

import difflib
import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from functools import lru_cache
from typing import Any, Self, TypedDict

from cachefence_web.errors import ConfigurationError

SHORTEST = 0.001
"""The shortest duration that the stores can honour: Redis counts milliseconds."""

LONGEST = 10 * 365 * 86_400.0
"""Ten years; a longer life is better said as `None`, which means without end."""


class Consistency(enum.StrEnum):
    """How close to a commit a read must be.

    `COMMITTED` sees every commit that had returned. `STRICT` also refuses what a commit on its way may be
    changing. `EVENTUAL` may be answered by replicas.
    """

    COMMITTED = "committed"
    STRICT = "strict"
    EVENTUAL = "eventual"


class PolicyOptions(TypedDict, total=False):
    """The fields of `Policy` as keyword options: any of them may be given per call."""

    ttl: float | timedelta | None
    stale_for: float | timedelta
    stale_if_error: float | timedelta
    early: float
    jitter: float
    lease: float | timedelta
    wait: float | timedelta
    soft_timeout: float | timedelta | None
    negative_ttl: float | timedelta | None
    l1_ttl: float | timedelta | None
    sliding: bool
    consistency: Consistency | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How long a value lives, what may be served after that, and how its compute is shared.

    Durations are seconds (int, float) or timedelta, and are kept as float seconds.

    ttl: how long the value is fresh; None means until it is invalidated.
    stale_for: how long after that it may be served while one refresh runs (RFC 5861).
    stale_if_error: how long after `ttl` it may be served because the compute failed (RFC 5861).
    early: XFetch's beta (Vattani et al., VLDB 2015); 0 switches early refresh off.
    jitter: the share of `ttl`, 0 to 1, by which each fill's life is shortened at random, so that keys filled
        together do not expire together.
    lease: the life of the right to compute; renewed each third of it while the compute runs, so it bounds
        how long a killed leader can block others, not how long a compute may take.
    wait: how long one waits for another's compute before one of those waiting takes it over; who still has
        nothing after as long again gets LeaseTimeout.
    soft_timeout: with a stale value at hand, how long to wait for the fresh one; None serves stale at once.
    negative_ttl: the `ttl` of a value that is None; None means the same as `ttl`.
    l1_ttl: how long the in-process tier may keep the value; None means as long as it is fresh.
    sliding: a hit renews the life that the value was stored with, if that has an end.
    """

    ttl: float | None = 300.0
    stale_for: float = 0.0
    stale_if_error: float = 0.0
    early: float = 1.0
    jitter: float = 0.0
    lease: float = 10.0
    wait: float = 30.0
    soft_timeout: float | None = None
    negative_ttl: float | None = None
    l1_ttl: float | None = None
    sliding: bool = False
    consistency: Consistency = Consistency.COMMITTED

    def __post_init__(self) -> None:
        settle = object.__setattr__
        for name in ("ttl", "soft_timeout", "negative_ttl", "l1_ttl"):
            given = getattr(self, name)
            settle(self, name, None if given is None else seconds(name, given))
        for name in ("stale_for", "stale_if_error"):
            settle(self, name, seconds(name, getattr(self, name), or_zero=True))
        for name in ("lease", "wait"):
            settle(self, name, seconds(name, getattr(self, name)))
        settle(self, "early", _number("early", self.early, most=100.0))
        settle(self, "jitter", _number("jitter", self.jitter, most=1.0))
        settle(self, "consistency", _consistency(self.consistency))
        if not isinstance(self.sliding, bool):
            raise ConfigurationError(f"sliding is True or False, not {self.sliding!r}")

    def but(self, options: Mapping[str, Any]) -> Policy:
        """The same policy with some fields changed.

        Raises:
            ConfigurationError: for an unknown field (with the nearest known one) or a value that cannot work.
        """
        if not options:
            return self
        try:
            # With the types: True is equal to 1, and only one of them is a duration.
            return _changed(self, tuple([(name, type(value), value) for name, value in options.items()]))
        except TypeError:  # an unhashable value: let the checks name it
            return _change(self, options)

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """A policy from options, over the defaults."""
        _refuse_unknown(options)
        return cls(**options)


def seconds(name: str, given: object, *, or_zero: bool = False) -> float:
    """A duration as float seconds.

    Raises:
        ConfigurationError: if it is no number or timedelta, not finite, zero or negative, or under a millisecond.
    """
    value = given.total_seconds() if isinstance(given, timedelta) else given
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigurationError(f"{name} is a number of seconds or a timedelta, not {given!r}")
    if value > LONGEST or math.isnan(value) or math.isinf(value):
        raise ConfigurationError(f"{name} is a finite number of seconds under ten years, not {given!r}"
                                 + ("; for a value without end give ttl=None" if name == "ttl" else ""))
    if value < 0 or (value == 0 and not or_zero):
        raise ConfigurationError(f"{name} is a positive number of seconds, not {given!r}"
                                 + ("; to drop a value use delete()" if name == "ttl" else ""))
    if 0 < value < SHORTEST:
        raise ConfigurationError(f"{name} is at least a millisecond (0.001), not {given!r}")
    return float(value)


def _number(name: str, given: object, *, most: float) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given <= most:
        raise ConfigurationError(f"{name} is a number from 0 to {most:g}, not {given!r}")
    return float(given)


def _consistency(given: object) -> Consistency:
    try:
        return Consistency(str(given))
    except ValueError:
        choices = ", ".join(repr(str(choice)) for choice in Consistency)
        raise ConfigurationError(f"consistency is one of {choices}, not {given!r}") from None


@lru_cache(maxsize=1024)
def _changed(base: Policy, options: tuple[tuple[str, type, Any], ...]) -> Policy:
    return _change(base, {name: value for name, _, value in options})


def _change(base: Policy, options: Mapping[str, Any]) -> Policy:
    _refuse_unknown(options)
    return replace(base, **options)


def _refuse_unknown(options: Mapping[str, Any]) -> None:
    known = [field.name for field in fields(Policy)]
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"the options are {', '.join(known)}"
            raise ConfigurationError(f"unknown option {name!r}; {hint}")
