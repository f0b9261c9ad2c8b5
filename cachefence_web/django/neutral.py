"""A request as `http` wants it: what was on the wire, as Django resolved it, and what the view may make of it besides.

What the key must tell besides the request itself travels as a header field that no client can send: Django turns
the underscores of a field's name into hyphens, so one with an underscore is ours.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.middleware.gzip import GZipMiddleware, re_accepts_gzip
from django.utils.module_loading import import_string
from django.utils.timezone import get_current_timezone_name
from django.utils.translation import get_language

from cachefence_web.django.standins import identifies, scope_of
from cachefence_web.django.watching import Standing, known_user, standing
from cachefence_web.http import Headers, Request, wire_path

SEEN = "django_view"
"""The field of the neutral request in which the view, its arguments and what middleware has settled are told."""

IDENTITY = b"remote-user"
"""The field of the neutral request in which it is told whom the server knows to be asking."""

_PLAIN = (str, int, float, bool, uuid.UUID, dt.date, type(None))


@dataclass(frozen=True, slots=True)
class Seen:
    """Which view, with what, for whom, in which language and zone.

    arguments: those that are plain values, written out; objects are made of the path, which the key has.
    user: whoever is logged in by other means than the session, None if nobody is known to be.
    """

    view: str
    arguments: tuple[str, ...]
    standing: Standing
    user: str | None
    language: str | None
    zone: str | None

    def lines(self) -> Headers:
        """As lines of the field `SEEN`."""
        told = (self.view, *self.arguments, self.standing, self.user or "-", self.language or "-", self.zone or "-")
        return tuple([(b"django_view", line.encode("utf-8", "surrogatepass")) for line in told])

    def stands_for(self, other: Seen) -> bool:
        """Whether a page made for this may be shown to the other, if it was made in the other's language and zone.

        A page that all visitors share, known as they are to be known, may be made for one who is not.
        """
        mine = replace(self, language=other.language, zone=other.zone)
        if other.standing is Standing.KNOWN and self.standing is Standing.ANONYMOUS:
            mine = replace(mine, standing=other.standing)
        return mine == other


def seen(
    request: HttpRequest, view: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], *more: str
) -> Seen:
    """What the view is about to be asked with.

    more: what else its answer depends on, and the request does not say.
    """
    arguments = (
        *[f"{value!r}" for value in args if isinstance(value, _PLAIN)],
        *[f"{name}={value!r}" for name, value in kwargs.items() if isinstance(value, _PLAIN)],
        *more,
    )
    return Seen(
        view, arguments, standing(request), known_user(request),
        get_language() if settings.USE_I18N else None,
        get_current_timezone_name() if settings.USE_TZ else None)


def neutral(request: HttpRequest, told: Seen) -> Request:
    """The request as Django resolved it.

    The path is the decoded one, brought back to the wire: servers pass the raw one in ways of their own, Django
    and its views never see it, and two that decode to one path are one page to them.

    Raises:
        DisallowedHost: for a host that Django does not accept.
    """
    # A WSGI server's texts are bytes in disguise (PEP 3333); Django has decoded those of an ASGI server.
    charset = "latin-1" if hasattr(request, "environ") else "utf-8"
    headers = [(_field_name(name), value.encode(charset, "surrogatepass"))
               for name, value in request.META.items() if name.startswith("HTTP_")]
    if "HTTP_RANGE" in request.META and _is_compressed(request.META):
        headers = [line for line in headers if line[0] != b"range"]
    if (known := _identity(request)) is not None:
        headers.append((IDENTITY, known))
    if length := request.META.get("CONTENT_LENGTH"):
        headers.append((b"content-length", str(length).encode("latin-1")))
    return Request(
        request.method or "", request.scheme or "", request.get_host(),
        wire_path(request.path.encode("utf-8", "surrogatepass")),
        request.META.get("QUERY_STRING", "").encode(charset, "surrogatepass"), (*headers, *told.lines()))


def _is_compressed(meta: Mapping[str, Any]) -> bool:
    """Whether GZipMiddleware may see to the answer: what it makes of a part is no part any more, so send the whole."""
    encodings = meta.get("HTTP_ACCEPT_ENCODING", "")
    return re_accepts_gzip.search(encodings) is not None and _compresses(tuple(settings.MIDDLEWARE))


@lru_cache(maxsize=8)
def _compresses(middleware: tuple[str, ...]) -> bool:
    found = [import_string(path) for path in middleware]
    return any(isinstance(kind, type) and issubclass(kind, GZipMiddleware) for kind in found)


def _identity(request: HttpRequest) -> bytes | None:
    """Whom the server knows to be asking, by its own login or by a certificate; None if it does not say.

    A text that tells them apart, and that no client can send: there is no NUL in a field (RFC 9110 section 5.5).
    """
    said = [(name, str(value)) for name, value in request.META.items()
            if value and identifies(name) and (name, value) != ("SSL_CLIENT_VERIFY", "NONE")]
    tls = (scope_of(request).get("extensions") or {}).get("tls") or {}
    said += [(name, str(tls[name])) for name in ("client_cert_name", "client_cert_chain") if tls.get(name)]
    if not said:
        return None
    return "\0".join(["", *[f"{name}={value}" for name, value in sorted(said)]]).encode("utf-8", "surrogatepass")


@lru_cache(maxsize=512)
def _field_name(name: str) -> bytes:
    return name.removeprefix("HTTP_").replace("_", "-").lower().encode("latin-1")
