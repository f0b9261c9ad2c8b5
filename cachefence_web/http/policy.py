"""What a `cache_view` or a rule says about the HTTP side of its responses, as one frozen value."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, TypedDict, get_args

from cachefence_web.core.policy import seconds
from cachefence_web.errors import ConfigurationError

CookieRule = Literal["bypass", "apart", "ignore"]
Freshness = Literal["policy", "headers"]

_FIELD_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_PARAMETER = re.compile(r"[^&=#\s*]+\*?")

CREDENTIALS = frozenset({b"authorization", b"cookie"})


class ResponseOptions(TypedDict, total=False):
    """`ResponsePolicy`'s fields, as keyword arguments of the faces."""

    freshness: Freshness
    vary_on: Iterable[str]
    cookies: CookieRule
    browser_ttl: float | None
    ignored_query: Iterable[str]
    sorted_query: bool
    targeted: Iterable[str]
    shows_key: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponsePolicy:
    """Which requests share a response, and who says how long it lives.

    freshness: "policy": the core's `Policy`, within what the response permits. "headers": the response's own header
        fields alone, by RFC 9111; without them nothing is stored.
    vary_on: request header fields whose values are part of the key; kept in lower case, sorted, each once. What a
        response's Vary names besides is told apart, too.
    cookies: what to do with a request that carries a Cookie field which is not in `vary_on`. "bypass",
        because nobody can tell from outside whether the answer used it. "apart" is for adapters that see what
        the view touched and say so with `personal`: requests with cookies never share with those without, and
        what is personal to one without is the anonymous page. "ignore" is for pages known to be the same for
        everybody. None: "bypass", but "ignore" where the headers decide, for they have Vary to say so.
    browser_ttl: seconds for which a browser may show a response without asking again, under "policy", where the
        application has not said so itself. 0: it always asks, and mostly hears 304. None: say nothing.
    ignored_query: query parameters that make no difference to the response, such as "utm_*"; a `*` ends a prefix.
    sorted_query: whether the order of query parameters makes no difference, but for those of one name.
    targeted: response header fields that speak to this cache in Cache-Control's place (RFC 9213), the first one counts.
    shows_key: whether Cache-Status tells the key, which may say more about a site than strangers should know.

    Raises:
        ConfigurationError: naming what cannot work, and what can.
    """

    freshness: Freshness = "policy"
    vary_on: Iterable[str] = ()
    cookies: CookieRule | None = None
    browser_ttl: float | None = 0.0
    ignored_query: Iterable[str] = ()
    sorted_query: bool = False
    targeted: Iterable[str] = ("CDN-Cache-Control",)
    shows_key: bool = False
    keyed: tuple[bytes, ...] = field(init=False, repr=False, compare=False)
    """`vary_on` as it is compared with request headers."""
    targets: tuple[bytes, ...] = field(init=False, repr=False, compare=False)
    """`targeted` as it is compared with response headers."""
    ignored: tuple[str, ...] = field(init=False, repr=False, compare=False)
    """`ignored_query`, checked."""

    def __post_init__(self) -> None:
        _one_of("freshness", self.freshness, get_args(Freshness))
        if self.cookies is None:
            object.__setattr__(self, "cookies", "ignore" if self.by_headers else "bypass")
        if self.cookies not in get_args(CookieRule):
            raise ConfigurationError(f"cookies is 'bypass', 'apart' or 'ignore', not {self.cookies!r}; to give"
                                     " each Cookie field a response of its own, write vary_on=('Cookie',)")
        names = _field_names("vary_on", self.vary_on)
        names = tuple(sorted(set(names)))
        targeted = _field_names("targeted", self.targeted)
        ignored = _parameters(self.ignored_query)
        settle = object.__setattr__
        settle(self, "vary_on", names)
        settle(self, "keyed", tuple([name.encode("ascii") for name in names]))
        settle(self, "targeted", targeted)
        settle(self, "targets", tuple([name.encode("ascii") for name in targeted]))
        settle(self, "ignored_query", ignored)
        settle(self, "ignored", ignored)
        if self.browser_ttl is not None:
            settle(self, "browser_ttl", seconds("browser_ttl", self.browser_ttl, or_zero=True))

    @property
    def by_headers(self) -> bool:
        """Whether the response's own header fields decide."""
        return self.freshness == "headers"

    @property
    def same_for_all(self) -> bool:
        """Whether visitors are not told apart by who they are: names with an underscore are an adapter's own."""
        return self.cookies == "ignore" and not any(name in CREDENTIALS or b"_" in name for name in self.keyed)


def _one_of(option: str, given: object, known: tuple[str, ...]) -> None:
    if given not in known:
        raise ConfigurationError(f"{option} is {' or '.join(map(repr, known))}, not {given!r}")


def _field_names(option: str, given: object) -> tuple[str, ...]:
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise ConfigurationError(f"{option} is a tuple of header field names: write ({given!r},)")
    names = list(given)
    for name in names:
        if not isinstance(name, str) or not _FIELD_NAME.fullmatch(name) or name == "*":
            raise ConfigurationError(f"{option} names header fields such as 'Accept-Language', not {name!r}")
    return tuple(dict.fromkeys(name.lower() for name in names))


def _parameters(given: object) -> tuple[str, ...]:
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise ConfigurationError(f"ignored_query is a tuple of query parameters: write ({given!r},)")
    names = tuple(given)
    for name in names:
        if not isinstance(name, str) or not _PARAMETER.fullmatch(name):
            raise ConfigurationError(
                f"ignored_query names query parameters such as 'utm_source' or 'utm_*', not {name!r}")
    return names
