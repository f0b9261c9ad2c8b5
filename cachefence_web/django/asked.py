"""A view about to be asked, and what is done to its answer before anybody judges it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase, ResponseHeaders
from django.template.response import SimpleTemplateResponse
from django.utils import timezone, translation

from cachefence_web.django.neutral import Seen
from cachefence_web.http import ResponsePolicy


@dataclass(frozen=True, slots=True)
class Asked:
    """A view about to be asked.

    request: Django's own.
    given: what the view takes for it: that, or what Django REST framework wraps it in.
    site: whether a site's rule has put the cache there, not the view.
    point: what is cached here, the same for each request.
    """

    view: Callable[..., Any]
    request: HttpRequest
    given: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    tags: Callable[..., tuple[str, ...]]
    http: ResponsePolicy
    point: object
    site: bool = False

    def run(self) -> Any:
        """The view's answer, or an awaitable of it."""
        return self.view(self.given, *self.args, **self.kwargs)


class As:
    """A block in the language and the zone of the page that is made anew."""

    def __init__(self, seen: Seen) -> None:
        self._language = translation.override(seen.language) if seen.language else None
        self._zone = timezone.override(seen.zone) if seen.zone else None

    def __enter__(self) -> None:
        for override in (self._language, self._zone):
            if override is not None:
                override.__enter__()

    def __exit__(self, *_: object) -> None:
        for override in (self._zone, self._language):
            if override is not None:
                override.__exit__(None, None, None)


def own(answer: HttpResponseBase) -> HttpResponseBase:
    """A copy to write to, for this request alone."""
    # copy.copy() would ask the response how to be pickled: that leaves things out, and templates refuse.
    made: HttpResponseBase = object.__new__(type(answer))
    vars(made).update(vars(answer))
    made.headers, made.cookies = ResponseHeaders(answer.headers), copy(answer.cookies)
    return made


def negotiated(told: Asked, answer: Any) -> Any:
    """With what Django REST framework would say of it after the view: how it is to be rendered."""
    if told.given is not told.request and unrendered(answer) and not hasattr(answer, "accepted_renderer"):
        answer = own(answer)
        answer.accepted_renderer = told.given.accepted_renderer
        answer.accepted_media_type = told.given.accepted_media_type
        answer.renderer_context = told.given.parser_context | {"response": answer}
    return answer


def unrendered(answer: object) -> bool:
    return isinstance(answer, SimpleTemplateResponse) and not answer.is_rendered
