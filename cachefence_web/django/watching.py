"""What a view touches of the one who asks: recorded while it runs, whatever middleware has touched before it.

While the view runs, `request.user`, the session, the messages, the cookies and the headers are stand-ins that note
their use and hand it on; afterwards the request has its own again. What middleware learnt of a visitor *before* the
view cannot be watched, wherever it was put. So whoever may have been looked at counts as told from others already:
his pages are his alone, whatever the view does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from functools import partial
from typing import Any, Self

from django.conf import settings
from django.http import HttpRequest
from django.utils.functional import LazyObject, empty

from cachefence_web.django.standins import (
    CONDITIONS,
    Cookies,
    Headers,
    Meta,
    Nonce,
    Noting,
    identifies,
    of_one_client,
    of_the_server,
)

CSRF = frozenset(("CSRF_COOKIE", "CSRF_COOKIE_NEEDS_UPDATE"))
"""Where `request.META` has the CSRF token's secret, and whether it was used."""

MESSAGES_COOKIE = "messages"
"""As django.contrib.messages calls its cookie."""

_TOKEN_USED = "CSRF_COOKIE_NEEDS_UPDATE"  # noqa: S105 (a flag that Django's get_token sets)

# What a request remembers of a header field, so that whoever asks once more does not read it.
REMEMBERED = ("accepted_types", "accepted_types_by_precedence")

# Those of the stand-ins that a view may replace without saying anything of the visitor.
_MAPPINGS = frozenset(("COOKIES", "META", "environ", "scope", "headers", "_csp_nonce", "csp_nonce"))

# Where Django 6 and django-csp keep the nonce of a Content-Security-Policy.
NONCES = ("_csp_nonce", "csp_nonce")

# Whose unresolved `request.user` asks the session, and nothing else, when it is used.
_WATCHED_USERS = frozenset(("django.contrib.auth.middleware", __name__))

SITE = "_cachefence_site"
"""Where a request holds the exchange of a site's rule, for a cached view inside to find."""

# What Django and its own middleware keep on a request, and two that are everywhere and look at headers only
# (django-cors-headers, django-htmx); the rest is the project's.
_DJANGOS = frozenset((
    "GET", "POST", "COOKIES", "META", "FILES", "path", "path_info", "method", "resolver_match", "content_type",
    "content_params", "environ", "scope", "script_name", "urlconf", "current_app", "site", "session", "user", "auser",
    "LANGUAGE_CODE", "csrf_processing_done", "csrf_cookie_needs_reset", "exception_reporter_filter",
    "exception_reporter_class", "_messages", "_cached_user", "_acached_user", "_csp_nonce",
    "_dont_enforce_csrf_checks", "_body", "_post", "_files", "_stream", "_read_started", "_post_parse_error",
    "_cors_enabled", "htmx", "csp_nonce", *REMEMBERED, SITE,
))


def credentials(request: HttpRequest) -> bool:
    """Whether the request says who asks, by what Django itself keeps in cookies."""
    cookies = request.COOKIES
    return settings.SESSION_COOKIE_NAME in cookies or MESSAGES_COOKIE in cookies


class Standing(StrEnum):
    """What is known of a visitor when the view is reached; pages are shared within one of these, if at all.

    KNOWN: he says who he is, and nobody has looked.
    TOLD: somebody has looked, or may have: what was learnt may be anywhere, and the page is for him alone.
    """

    ANONYMOUS = "anonymous"
    KNOWN = "known"
    TOLD = "told"


def standing(request: HttpRequest) -> Standing:
    """What middleware, and decorators outside, have left the view to find out."""
    known = credentials(request)
    if (
        (known and not _reads(request).isdisjoint(("session", "user", "auser")))
        or ((request.COOKIES or request.META.get(_TOKEN_USED)) and _has_belongings(request))
        or (known_user(request) is not None if known else _brings_a_user(request))
    ):
        return Standing.TOLD
    return Standing.KNOWN if known else Standing.ANONYMOUS


def known_user(request: HttpRequest) -> str | None:
    """Who is logged in, as far as it has been found out by now; a text that tells users apart."""
    user = vars(request).get("user")
    if user is None or (isinstance(user, LazyObject) and user._wrapped is empty) or not _logged_in(user):
        return None
    return repr(getattr(user, "pk", None) or str(user))


class Watch:
    """A block in which a view runs; `personal` and `once` say afterwards what it touched.

    for_known: whether the page is for visitors who say who they are; the request's own, if it is not given.
    conditions: what the view sees in place of the client's conditions, as in `request.META`; None: the client's.

    touched: the user, the session or the messages: the same for all who carry no credentials.
    told: something that is one visitor's whoever he is: a CSRF token, a cookie, a user who is logged in; or the
        visitor is one whose pages are his alone.
    once: something that may be sent once only.
    fields: the names of the header fields that were read, in lower case.
    """

    def __init__(
        self, request: HttpRequest, *, for_known: bool | None = None, conditions: Mapping[str, str] | None = None
    ) -> None:
        self._request = request
        self._carries = credentials(request) if for_known is None else for_known
        self._conditions = conditions
        self.fields: set[str] = set()
        self._own: dict[str, Any] = {}
        self._stand_ins: dict[str, Any] = {}
        self._token_was_used = False
        self._nonce_was_used = False
        self._read_before: frozenset[str] = frozenset()
        self._touched: set[str] = set()
        self._told = False
        self.once = False

    @property
    def touched(self) -> bool:
        """Whether the page would be another for somebody else who is logged in."""
        return bool(self._touched)

    @property
    def personal(self) -> bool:
        """Whether the page is for this visitor alone."""
        return self._told or (self._carries and bool(self._touched))

    def __enter__(self) -> Self:
        request = self._request
        self._told = standing(request) is Standing.TOLD
        self._read_before = _reads(request)
        self._token_was_used = request.META.pop(_TOKEN_USED, False)
        self._nonce_was_used = self._nonce_used()
        for name in ("user", "session", "_messages"):
            if name in vars(request):
                self._replace(name, Noting(vars(request)[name], partial(self._touched.add, name)))
        for name in NONCES:
            if name in vars(request):
                self._replace(name, Nonce(vars(request)[name], self._use_once))
        if "auser" in vars(request):
            self._replace("auser", self._noting_call(vars(request)["auser"]))
        if "scope" in vars(request):
            self._replace("scope", Noting(vars(request)["scope"], partial(self._read_field, None)))
        for name in REMEMBERED:
            vars(request).pop(name, None)
        self._replace("COOKIES", Cookies(request.COOKIES, self._read_cookie))
        meta = Meta(request.META, self._read_field, self._conditions)
        self._replace("headers", Headers({**meta.plain(), **(self._conditions or {})}, self._read_field))
        if vars(request).get("environ") is request.META:
            self._replace("environ", meta)
        self._replace("META", meta)
        return self

    def __exit__(self, *_: object) -> None:
        request = self._request
        meta = self._own["META"]
        self._told |= bool(meta.get(_TOKEN_USED))
        if self._token_was_used:
            meta[_TOKEN_USED] = True
        for name, stand_in in self._stand_ins.items():
            if vars(request).get(name) is stand_in:
                setattr(request, name, self._own[name])
            elif name == "user" and not _logged_in(vars(request).get(name)):
                # Django REST framework puts there whom it has found; who logs out is seen by his session.
                self._touched.add(name)
            elif name not in _MAPPINGS:
                self._told = True  # the view has put another in its place: it logged somebody in
        self._told |= "user" not in self._stand_ins and known_user(request) is not None
        # By those who held them before the stand-ins were there.
        self.once |= self._nonce_used() and not self._nonce_was_used
        self._touched |= _reads(request) - self._read_before
        self._told |= (
            "modified" in self._touched
            or ("user" in self._touched and _logged_in(self._own.get("user")))
            or ("session" in self._touched and getattr(self._own.get("session"), "modified", True))
            or ("_messages" in self._touched and getattr(self._own["_messages"], "added_new", True))
        )

    def _replace(self, name: str, stand_in: Any) -> None:
        self._own[name] = getattr(self._request, name)
        self._stand_ins[name] = stand_in
        setattr(self._request, name, stand_in)

    def _noting_call(self, own: Callable[[], Awaitable[Any]]) -> Callable[[], Awaitable[Any]]:
        async def auser() -> Any:
            self._touched.add("auser")
            user = await own()
            self._told |= _logged_in(user)
            return user

        return auser

    def _read_cookie(self, name: str | None) -> None:
        """None stands for all of them. Whether the session's and the messages' are there, the key tells."""
        if name in (settings.SESSION_COOKIE_NAME, MESSAGES_COOKIE):
            self._touched.add("cookie")
        else:
            self._told = True

    def _read_field(self, name: str | None) -> None:
        """None stands for all of them, those too that another client may send."""
        if name is None:
            self._told = True
        elif name == "HTTP_COOKIE":
            self._read_cookie(None)
        elif identifies(name):
            self.fields.add("remote-user")
        elif of_one_client(name):
            self._told = True  # no Vary can name it
        elif name.startswith("HTTP_"):
            if name not in CONDITIONS:
                self.fields.add(name.removeprefix("HTTP_").replace("_", "-").lower())
        elif name not in CSRF and not of_the_server(name):
            self._told = True  # whatever the operator has the server say there, and whoever logged in by it

    def _use_once(self) -> None:
        self.once = True

    def _nonce_used(self) -> bool:
        """Django 6's nonce for a Content-Security-Policy is true once it has been made."""
        nonce = vars(self._request).get("_csp_nonce")
        return isinstance(nonce, LazyObject) and nonce._wrapped is not empty


def _reads(request: HttpRequest) -> frozenset[str]:
    """What was used so far, by anybody, of what tells visitors apart."""
    known = vars(request)
    session = known.get("session")
    marks = (
        ("session", getattr(session, "accessed", False)), ("modified", getattr(session, "modified", False)),
        ("user", "_cached_user" in known), ("auser", "_acached_user" in known),
    )
    return frozenset([name for name, used in marks if used])


def belongs(request: object, name: str) -> bool:
    """Whether a name on the request is the project's own, put there by its middleware."""
    return name not in _DJANGOS and not hasattr(type(request), name)


def _has_belongings(request: HttpRequest) -> bool:
    return any(belongs(request, name) for name in vars(request))


def _brings_a_user(request: HttpRequest) -> bool:
    """Whether somebody is logged in, or may be, by other means than Django's session."""
    user = vars(request).get("user")
    if isinstance(user, LazyObject) and user._wrapped is empty:
        made_in = getattr(vars(user).get("_setupfunc"), "__module__", None)
        return bool(request.COOKIES) and made_in not in _WATCHED_USERS
    return user is not None and _logged_in(user)


def _logged_in(user: object) -> bool:
    """Where it cannot be told, yes."""
    try:
        return bool(getattr(user, "is_authenticated", True))
    except Exception:
        return True
