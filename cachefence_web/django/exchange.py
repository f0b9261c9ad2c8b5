"""One request to a view and its answers, as `responding` and `http` want to see them.

What the key must tell besides the request itself travels as a header field that no client can send: Django turns
the underscores of a field's name into hyphens, so one with an underscore is ours. The same goes for what a stored
response must remember and its headers cannot say.
"""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.exceptions import BadRequest, PermissionDenied, SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase, ResponseHeaders
from django.template.response import SimpleTemplateResponse
from django.utils.timezone import get_current_timezone_name
from django.utils.translation import get_language

from cachefence_web.core.tags import check_tags
from cachefence_web.django.watching import Watch, standing
from cachefence_web.http import Outcome, Request, Response, cache_status, wire_path
from cachefence_web.runtime.leading import AsyncLeading, Leading

SEEN = "django_view"
"""The field of the neutral request in which the view, its arguments and what middleware has settled are told."""

_TOUCHED = SEEN.encode()
_REMEMBERED = b"django_attributes"

# What Django's own decorators leave on a response for its middleware: plain values all.
_ATTRIBUTES = ("xframe_options_exempt", "_csp_config", "_csp_ro_config")

_PLAIN = (str, int, float, bool, uuid.UUID, dt.date, type(None))

_ANSWERS = (Http404, PermissionDenied, SuspiciousOperation, BadRequest)


@dataclass(slots=True)
class Answering:
    """What both colours have in common.

    request: the neutral request.
    tags: makes the tags of the page from the request and the view's arguments.
    """

    request: Request
    view: Callable[..., Any]
    asked: HttpRequest
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    tags: Callable[..., tuple[str, ...]]
    answers: tuple[type[BaseException], ...] = _ANSWERS
    _watch: Watch | None = field(default=None, init=False)

    def describe(self, answer: HttpResponseBase) -> Response | None:
        """None for streams, and for what may be sent once only."""
        assert self._watch is not None, "an answer is judged after it was led"
        if not isinstance(answer, HttpResponse) or self._watch.once:
            return None
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.items()]
        headers += [(b"set-cookie", morsel.OutputString().encode("latin-1")) for morsel in answer.cookies.values()]
        if self._watch.touched:
            headers.append((b"vary", _TOUCHED))
        if kept := {name: getattr(answer, name) for name in _ATTRIBUTES if hasattr(answer, name)}:
            headers.append((_REMEMBERED, json.dumps(kept, default=list).encode("ascii")))
        return Response(answer.status_code, tuple(headers), answer.content)

    def personal(self, _answer: HttpResponseBase | None) -> bool:
        """As the watch over the view has it, for what the view has raised too."""
        return self._watch is None or self._watch.personal

    def rebuild(self, response: Response) -> HttpResponseBase:
        """A plain HttpResponse, which the middleware outside may change as it would any other."""
        headers: dict[str, str] = {}
        attributes: dict[str, Any] = {}
        for raw_name, raw_value in response.headers:
            if raw_name == _REMEMBERED:
                attributes = json.loads(raw_value)
                continue
            name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
            if value == SEEN and name == "vary":
                value = "Cookie"
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        made = HttpResponse(response.body, status=response.status, headers=headers)
        if "content-type" not in headers:
            del made["Content-Type"]
        for name, value in attributes.items():
            setattr(made, name, value)
        return made

    def mark(self, answer: HttpResponseBase, outcome: Outcome) -> HttpResponseBase:
        """A copy: the view may hand the same response to everybody. What is none is for Django to complain about."""
        given: object = answer
        if not isinstance(given, HttpResponseBase):
            return answer
        # copy.copy() would ask the response how to be pickled: that leaves things out, and templates refuse.
        marked: HttpResponseBase = object.__new__(type(answer))
        vars(marked).update(vars(answer))
        marked.headers, marked.cookies = ResponseHeaders(answer.headers), copy(answer.cookies)
        said = cache_status(outcome).decode("ascii")
        marked["Cache-Status"] = f"{answer['Cache-Status']}, {said}" if "Cache-Status" in answer else said
        return marked

    def _leads(self, leading: Leading | AsyncLeading) -> Watch:
        self._watch = Watch(self.asked)
        leading.depends_on(*check_tags(self.tags(self.asked, *self.args, **self.kwargs)))
        return self._watch


class ThreadExchange(Answering):
    """For `def` views."""

    def call(self, leading: Leading | None) -> Any:
        """The view's answer; one that is to be shared is rendered here, while what it touches is watched."""
        if leading is None:
            return self.view(self.asked, *self.args, **self.kwargs)
        with self._leads(leading):
            answer = self.view(self.asked, *self.args, **self.kwargs)
            return answer.render() if _unrendered(answer) else answer


class TaskExchange(Answering):
    """For `async def` views."""

    async def call(self, leading: AsyncLeading | None) -> Any:
        """The view's answer; one that is to be shared is rendered where Django runs synchronous code."""
        if leading is None:
            return await self.view(self.asked, *self.args, **self.kwargs)
        with self._leads(leading):
            answer = await self.view(self.asked, *self.args, **self.kwargs)
            return await sync_to_async(answer.render)() if _unrendered(answer) else answer


def neutral(request: HttpRequest, view: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Request:
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
    if length := request.META.get("CONTENT_LENGTH"):
        headers.append((b"content-length", str(length).encode("latin-1")))
    return Request(
        request.method or "", request.scheme or "", request.get_host(),
        wire_path(request.path.encode("utf-8", "surrogatepass")),
        request.META.get("QUERY_STRING", "").encode(charset, "surrogatepass"),
        (*headers, *_seen(request, view, args, kwargs)))


@lru_cache(maxsize=512)
def _field_name(name: str) -> bytes:
    return name.removeprefix("HTTP_").replace("_", "-").lower().encode("latin-1")


def _seen(
    request: HttpRequest, view: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> list[tuple[bytes, bytes]]:
    """Which view, with what, in which language and zone, and where the visitor stands."""
    told = [
        view, *[f"{value!r}" for value in args if isinstance(value, _PLAIN)],
        *[f"{name}={value!r}" for name, value in kwargs.items() if isinstance(value, _PLAIN)],
        standing(request),
        (get_language() or "-") if settings.USE_I18N else "-",
        get_current_timezone_name() if settings.USE_TZ else "-",
    ]
    return [(_TOUCHED, line.encode("utf-8", "surrogatepass")) for line in told]


def _unrendered(answer: object) -> bool:
    return isinstance(answer, SimpleTemplateResponse) and not answer.is_rendered
