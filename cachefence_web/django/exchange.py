"""One request to a view and its answers, as `responding` and `http` want to see them.

What a stored response must remember and its headers cannot say travels in a field with an underscore, as what the
key must tell does (see `neutral`).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.exceptions import BadRequest, PermissionDenied, SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from cachefence_web.core.tags import check_tags
from cachefence_web.django import refreshing
from cachefence_web.django.afterwards import Dropped, behind
from cachefence_web.django.asked import As, Asked, negotiated, own, unrendered
from cachefence_web.django.neutral import SEEN, Seen
from cachefence_web.django.refreshing import Refresh
from cachefence_web.django.watching import SITE, Standing, Watch
from cachefence_web.http import (
    Allowed,
    Headers,
    Outcome,
    Request,
    Response,
    answers_from_cache,
    cache_status,
)
from cachefence_web.http.asking import CREDENTIALS
from cachefence_web.runtime.leading import AsyncLeading, Leading
from cachefence_web.runtime.recording import depends_on

_TOUCHED = SEEN.encode()
_REMEMBERED = b"django_attributes"

# What Django's own decorators leave on a response for its middleware: plain values all.
_ATTRIBUTES = ("xframe_options_exempt", "_csp_config", "_csp_ro_config")

_ANSWERS = (Http404, PermissionDenied, SuspiciousOperation, BadRequest)

# Of these the key knows what Django makes of them.
_SETTLED = frozenset((b"host", b"cookie", b"content-length", b"content-type"))


@dataclass(slots=True)
class Answering:
    """What both colours have in common.

    request: the neutral request.
    left: whether a cached view inside has taken the request over.
    """

    request: Request
    seen: Seen
    told: Asked
    answers: tuple[type[BaseException], ...] = field(init=False)
    revalidates: bool = field(default=True, init=False)
    left: bool = field(default=False, init=False)
    _watch: Watch | None = field(default=None, init=False)
    _dropped: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        raised = getattr(sys.modules.get("rest_framework.exceptions"), "APIException", None)
        self.answers = (*_ANSWERS, raised) if raised else _ANSWERS

    @property
    def asked(self) -> HttpRequest:
        """Django's request."""
        return self.told.request

    def stands_for(self, other: Answering) -> bool:
        """Whether an answer made here may be stored as the other's."""
        mine, its = self.request, other.request
        return (
            self.told.point is other.told.point and self.seen.stands_for(other.seen)
            and (mine.scheme, mine.host, mine.raw_path, mine.query) == (its.scheme, its.host, its.raw_path, its.query)
        )

    def head(self, answer: HttpResponseBase) -> Response:
        """What is no response is for Django to complain about."""
        given: object = answer
        if not isinstance(given, HttpResponseBase):
            return Response(500, (), b"")
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.items()]
        headers += [(b"set-cookie", morsel.OutputString().encode("latin-1")) for morsel in answer.cookies.values()]
        return Response(answer.status_code, tuple(headers), b"")

    def describe(self, answer: HttpResponseBase) -> Response | None:
        """None for streams, for what may be sent once only, and for what is another cache's."""
        watch = self._watch
        if watch is None or watch.once or self.left or not isinstance(answer, HttpResponse) or unrendered(answer):
            return None
        head = self.head(answer)
        more = [(b"vary", name) for name in self._read(watch)]
        if watch.touched:
            more.append((b"vary", _TOUCHED))
        if kept := {name: getattr(answer, name) for name in _ATTRIBUTES if hasattr(answer, name)}:
            more.append((_REMEMBERED, json.dumps(kept, default=list).encode("ascii")))
        return Response(head.status, (*head.headers, *more), answer.content)

    def _read(self, watch: Watch) -> list[bytes]:
        """The fields of the request that the view has read: its answer may be another for who says something else."""
        settled = {*_SETTLED, *self.told.http.keyed}
        if not self.told.http.by_headers:
            settled |= CREDENTIALS
        proxied = getattr(settings, "SECURE_PROXY_SSL_HEADER", None) or [""]
        names = [name for name, said in (
            ("x-forwarded-host", settings.USE_X_FORWARDED_HOST), ("x-forwarded-port", settings.USE_X_FORWARDED_PORT),
            (proxied[0].removeprefix("HTTP_").replace("_", "-").lower(), True)) if said]
        settled |= {name.encode("latin-1") for name in names}
        return sorted({name.encode("latin-1", "replace") for name in watch.fields} - settled)

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

    @property
    def name(self) -> str:
        """The view's."""
        return self.seen.view

    def mark(self, answer: HttpResponseBase, outcome: Outcome, told: Headers = ()) -> HttpResponseBase:
        """A copy: the view may hand the same response to everybody. What is none is for Django to complain about."""
        given: object = answer
        if not isinstance(given, HttpResponseBase) or self.left:
            return answer
        marked = own(answer)
        said = cache_status(outcome).decode("ascii")
        marked["Cache-Status"] = f"{answer['Cache-Status']}, {said}" if "Cache-Status" in answer else said
        for name, value in told:
            marked[name.decode("ascii")] = value.decode("ascii")
        return marked

    def after(self, answer: HttpResponseBase, run: Callable[[], Any]) -> HttpResponseBase:
        """The answer; what is to be done behind it hangs on the request, which outlives it."""
        behind(self.asked, run, self._drop)
        return answer

    def _drop(self) -> None:
        self._dropped = True

    def _watching(self, leading: Leading | AsyncLeading | None, conditions: Headers) -> Watch | None:
        """The watch over what may be shared; None for what is this visitor's alone."""
        if leading is None:
            if not isinstance(answers_from_cache(self.request, self.told.http), Allowed):
                return None
            self._watch = Watch(self.asked)
            depends_on(*self._tags())  # it may be stored all the same
            return self._watch
        self._watch = Watch(self.asked, conditions=_shown(conditions))
        leading.depends_on(*self._tags())
        return self._watch

    def _tags(self) -> tuple[str, ...]:
        return check_tags(self.told.tags(self.asked, *self.told.args, **self.told.kwargs))

    def _refresh(self, leading: Leading | AsyncLeading, headers: Headers) -> Refresh[Any]:
        if self._dropped:
            raise Dropped
        self._watch = None
        return Refresh(self, leading, headers)

    def _taken(self, refresh: Refresh[Any]) -> None:
        """From now on the exchange that asked for it speaks of what happens here."""
        other: Answering = refresh.exchange
        refresh.made_by = self
        known = other.seen.standing is not Standing.ANONYMOUS
        self._watch = other._watch = Watch(self.asked, for_known=known, conditions=_shown(refresh.conditions))
        refresh.leading.depends_on(*self._tags())


class ThreadExchange(Answering):
    """For `def` views."""

    def call(self, leading: Leading | None, conditions: Headers = ()) -> Any:
        """The view's answer; one that may be shared is rendered here, while what it touches is watched."""
        watch = self._watching(leading, conditions)
        if watch is None:
            return self.told.run()
        with watch, _OnSite(self):
            return self._rendered()

    def again(self, leading: Leading, headers: Headers = ()) -> Any:
        """Ask the same view in a request of its own that is nobody's; None if that request did not get there."""
        refresh = self._refresh(leading, headers)
        refreshing.ask(refresh)
        return refresh.outcome()

    def answer_for(self, refresh: Refresh[Any]) -> Any:
        """What the view answers in such a request."""
        self._taken(refresh)
        assert self._watch is not None
        try:
            with As(refresh.exchange.seen), self._watch, _OnSite(self):
                answer = self._rendered()
        except Exception as error:
            refresh.failed(error)
            raise
        refresh.made(answer)
        # What middleware adds is not the view's.
        return own(answer) if isinstance(answer, HttpResponseBase) else answer

    def _rendered(self) -> Any:
        answer = negotiated(self.told, self.told.run())
        return answer.render() if unrendered(answer) else answer


class TaskExchange(Answering):
    """For `async def` views."""

    async def call(self, leading: AsyncLeading | None, conditions: Headers = ()) -> Any:
        """The view's answer; one that may be shared is rendered where Django runs synchronous code."""
        watch = self._watching(leading, conditions)
        if watch is None:
            return await self.told.run()
        with watch, _OnSite(self):
            return await self._rendered()

    async def again(self, leading: AsyncLeading, headers: Headers = ()) -> Any:
        """Ask the same view in a request of its own that is nobody's; None if that request did not get there."""
        refresh = self._refresh(leading, headers)
        await refreshing.aask(refresh)
        return refresh.outcome()

    async def answer_for(self, refresh: Refresh[Any]) -> Any:
        """What the view answers in such a request."""
        self._taken(refresh)
        assert self._watch is not None
        try:
            with As(refresh.exchange.seen), self._watch, _OnSite(self):
                answer = await self._rendered()
        except Exception as error:
            refresh.failed(error)
            raise
        refresh.made(answer)
        # What middleware adds is not the view's.
        return own(answer) if isinstance(answer, HttpResponseBase) else answer

    async def _rendered(self) -> Any:
        answer = negotiated(self.told, await self.told.run())
        return await sync_to_async(answer.render)() if unrendered(answer) else answer


class _OnSite:
    """A block in which a cached view finds the exchange of the site's rule around it, and has it stand back."""

    def __init__(self, exchange: Answering) -> None:
        self._exchange = exchange

    def __enter__(self) -> None:
        if self._exchange.told.site:
            setattr(self._exchange.asked, SITE, self._exchange)

    def __exit__(self, *_: object) -> None:
        vars(self._exchange.asked).pop(SITE, None)


def _shown(conditions: Headers) -> dict[str, str]:
    """As `request.META` has them."""
    return {"HTTP_" + name.decode("ascii").replace("-", "_").upper(): value.decode("latin-1")
            for name, value in conditions}


def stand_back(request: HttpRequest) -> None:
    """A cached view was reached: the site's rule around it, if there is one, stores nothing."""
    outer = vars(request).pop(SITE, None)
    if isinstance(outer, Answering):
        outer.left = True
