"""What a `cache_view` or a rule says about the HTTP side of its responses, as one frozen value."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, get_args

from cachefence_web.errors import ConfigurationError

CookieRule = Literal["bypass", "apart", "ignore"]

_FIELD_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponsePolicy:
    """Which requests share a response. How long it lives is said by the core's `Policy`.

    vary_on: request header fields whose values are part of the key; kept in lower case, sorted, each once.
    cookies: what to do with a request that carries a Cookie field which is not in `vary_on`. "bypass",
        because nobody can tell from outside whether the answer used it. "apart" is for adapters that see what
        the view touched and say so with `personal`: requests with cookies never share with those without, and
        what is personal to one without is the anonymous page. "ignore" is for pages known to be the same for
        everybody.

    Raises:
        ConfigurationError: for a `vary_on` that is no sequence of field names, or another word for `cookies`.
    """

    vary_on: tuple[str, ...] = ()
    cookies: CookieRule = "bypass"
    keyed: tuple[bytes, ...] = field(init=False, repr=False, compare=False)
    """`vary_on` as it is compared with request headers."""

    def __post_init__(self) -> None:
        if self.cookies not in get_args(CookieRule):
            raise ConfigurationError(f"cookies is 'bypass', 'apart' or 'ignore', not {self.cookies!r}; to give"
                                     " each Cookie field a response of its own, write vary_on=('Cookie',)")
        names = _field_names(self.vary_on)
        object.__setattr__(self, "vary_on", names)
        object.__setattr__(self, "keyed", tuple(name.encode("ascii") for name in names))


def _field_names(given: object) -> tuple[str, ...]:
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise ConfigurationError(f"vary_on is a tuple of request header names: write ({given!r},)")
    names = list(given)
    for name in names:
        if not isinstance(name, str) or not _FIELD_NAME.fullmatch(name) or name == "*":
            raise ConfigurationError(f"vary_on names request headers such as 'Accept-Language', not {name!r}")
    return tuple(sorted({name.lower() for name in names}))
