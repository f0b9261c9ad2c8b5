"""A part of a page, rendered once however many ask, and shared only if it is the same for everybody who may get it.

What a fragment shows was mostly loaded before it, by the view. So it is dated at the start of the request, or of the
fragment around it: an invalidation that came in between outdates it. One that names no tags takes over those that the
compute around has gathered so far; one that does is believed, so that of a list of them each stands alone.

Rendering runs in the thread of a caller, never behind its back: a context is for one thread.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.core.signals import request_finished, request_started
from django.template import Context
from django.utils.functional import SimpleLazyObject
from django.utils.safestring import SafeString, mark_safe

from cachefence_web.cache import CacheFence
from cachefence_web.core.flight import Landing, Lead, Recording, Served
from cachefence_web.core.policy import PolicyOptions
from cachefence_web.core.tags import Instant, Lease, check_tags
from cachefence_web.runtime.recording import current, depends_on, inherit
from cachefence_web.stores.memory import now_in_microseconds

_ONCE = ("csrf_token", "csp_nonce", "messages")
"""What no two visits share, whatever a fragment varies on."""
_WHOSE = ("user", "perms")
_WHOSE_REQUEST = frozenset(("user", "auser", "session", "COOKIES"))

_DRIFT = 1000
"""Microseconds, and the share of the elapsed time that is one, by which two clocks are taken to differ."""

_MARK = "cachefence.began"
"""Where an ASGI scope holds it: what a signal's receiver sets in its own task, Django 5.2 forgets."""

_began: ContextVar[int | None] = ContextVar("cachefence_request_began", default=None)
_around: ContextVar[Lease | None] = ContextVar("cachefence_fragment_around", default=None)

Render = Callable[[Context], str]


def watch_requests() -> None:
    """Note when requests begin, until they end."""
    request_started.connect(_note_beginning, dispatch_uid=__name__)
    request_finished.connect(_note_end, dispatch_uid=__name__)


def fragment_key(name: str, vary: Iterable[object] = ()) -> str:
    """The key of a fragment, as in `cache.delete(fragment_key("sidebar", [user.pk]))`."""
    digest = hashlib.blake2b(digest_size=16)
    for value in vary:
        text = str(value).encode("utf-8", "surrogatepass")
        digest.update(b"%d:" % len(text) + text)
    return f"template.cachefence.{name}.{digest.hexdigest()}"


def fragment(
    fence: CacheFence, key: str, context: Context, render: Render, tags: Iterable[str], options: PolicyOptions, *,
    varies: bool,
) -> SafeString:
    """What is stored under the key, or rendered now, in a copy of the context.

    varies: whether the key names those for whom the fragment is: it may then show who they are.

    Raises:
        What rendering raises, here or where it was waited for.
    """
    named = check_tags(tags)
    scope = current()
    around = () if named or scope is None else tuple(scope.recording.tags)
    found = fence.begin(key, tags=named or around, **options)
    if isinstance(found, Served) and isinstance(found.value, str):
        inherit(found)
        return mark_safe(found.value)  # noqa: S308 (it was rendered, escaped, by a template)
    if isinstance(found, Lead):
        return mark_safe(_led(fence, found, context, render, varies=varies))  # noqa: S308 (as above)
    depends_on(*named)
    return mark_safe(_Shown(context).render(render))  # noqa: S308 (as above)


def _led(fence: CacheFence, lead: Lead, context: Context, render: Render, *, varies: bool) -> str:
    """Rendered for all who wait for it, if it is one for all."""
    since = _since(lead, _began_at(context))
    landing: Landing | None = None
    with fence.leading(lead, since=since) as block:
        shown = _Shown(context)
        with _dated(since or (lead.granted.lease if lead.granted is not None else None)):
            try:
                rendered = shown.render(render)
            except Exception as error:
                landing = block.fail(error)
                if not isinstance(landing, Served):
                    raise
                rendered = landing.value
            else:
                if shown.may_be_shared(varies=varies):
                    landing = block.finish(rendered)
                else:
                    block.pass_by()
    _tell_around(block.recording, landing)
    return rendered


class _Shown:
    """One rendering: of a copy of the context, in which the use of what tells visitors apart is noted."""

    def __init__(self, context: Context) -> None:
        self._used: set[str] = set()
        self._context = copy.copy(context)
        stand_ins: dict[str, Any] = {}
        for name in (*_ONCE, *_WHOSE):
            if (there := context.get(name)) is not None:
                stand_ins[name] = self._noting(name, there)
        if (request := context.get("request")) is not None:
            stand_ins["request"] = _Asked(request, self._used.add)
        self._context.push(**stand_ins)

    def render(self, render: Render) -> str:
        """The text, of exactly that type: a serializer knows no other."""
        return str.__str__(render(self._context))

    def may_be_shared(self, *, varies: bool) -> bool:
        """Whether somebody else may be shown it."""
        return not self._used or (varies and self._used.isdisjoint(_ONCE))

    def _noting(self, name: str, own: Any) -> SimpleLazyObject[Any]:
        def note() -> Any:
            self._used.add(name)
            return own

        return SimpleLazyObject(note)


class _Asked(SimpleLazyObject):  # type: ignore[type-arg]
    """The request, in a template: what is asked of it is noted."""

    def __init__(self, request: Any, note: Callable[[str], None]) -> None:
        super().__init__(lambda: request)
        self.__dict__["_note"] = note

    def __getattr__(self, name: str) -> Any:
        if name in _WHOSE_REQUEST:
            self.__dict__["_note"](name)
        return super().__getattr__(name)


def _since(lead: Lead, began: int | None) -> Lease | None:
    """The date of what was loaded before the lead was begun; None if nothing is known of it.

    An earlier date is always a safe one.
    """
    if lead.granted is None:
        return None
    own, around = lead.granted.lease, _around.get()
    if around is not None and around.epoch != own.epoch:
        return around
    earliest: int = own.instant if around is None else min(own.instant, around.instant)
    if began is not None:
        elapsed = now_in_microseconds() - began
        earliest = min(earliest, own.instant - elapsed - elapsed // _DRIFT - _DRIFT)
    return None if earliest == own.instant else Lease(Instant(max(0, earliest)), own.epoch)


def _began_at(context: Context) -> int | None:
    """When the request began for which this is rendered, if it is known."""
    if (began := _began.get()) is not None:
        return began
    request = getattr(context, "request", None) or context.get("request")
    scope = getattr(request, "scope", None)
    found: int | None = scope.get(_MARK) if isinstance(scope, dict) else None
    return found


def _tell_around(recorded: Recording, landing: Landing | None) -> None:
    """Hand upward what a fragment depends on, and that it is not to be stored if its parts are not."""
    depends_on(*recorded.tags)
    if isinstance(landing, Served):
        inherit(landing)
    scope = current()
    if scope is not None and not recorded.storable:
        scope.recording.storable = False


@contextmanager
def _dated(lease: Lease | None) -> Iterator[None]:
    reset = _around.set(lease)
    try:
        yield
    finally:
        _around.reset(reset)


def _note_beginning(*, scope: dict[str, Any] | None = None, **_: object) -> None:
    now = now_in_microseconds()
    _began.set(now)
    if scope is not None:
        scope[_MARK] = now


def _note_end(**_: object) -> None:
    _began.set(None)
