"""A part of a page, rendered once however many ask, and shared only if it is the same for everybody who may get it.

What a fragment shows was mostly loaded before it, by the view. So it is dated at the start of the request, or of the
outermost compute around it: what was invalidated or cleared since then outdates it. One that names no tags takes over
those that the compute around, or the request, has gathered so far, and is not stored where nobody has gathered them;
one that does is believed, so that of a list of them each stands alone.

A fragment that has used something of the visitor is shared only if what it varies on was made of the same.

Rendering runs in the thread of a caller, never behind its back: a context is for one thread.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterable

from django.template import Context
from django.utils.safestring import SafeString, mark_safe

from cachefence_web.cache import CacheFence
from cachefence_web.core.flight import Landing, Lead, Served
from cachefence_web.core.policy import PolicyOptions
from cachefence_web.core.recording import Recording
from cachefence_web.core.tags import check_tags
from cachefence_web.django.alias import store_of
from cachefence_web.django.dating import date_of, gather_from_now_on, has_begun, learn
from cachefence_web.django.overseeing import ONCE, Oversight
from cachefence_web.runtime.recording import current, depends_on, gathered, inherit

Render = Callable[[Context], str]

Vary = Callable[[Context], tuple[object, ...]]
"""What a fragment varies on, in a context."""


def fragment_key(name: str, vary: Iterable[object] = ()) -> str:
    """The key of a fragment, as in `cache.delete(fragment_key("sidebar", [user.pk]))`."""
    digest = hashlib.blake2b(digest_size=16)
    for value in vary:
        text = str(value).encode("utf-8", "surrogatepass")
        digest.update(b"%d:" % len(text) + text)
    return f"template.cachefence.{name}.{digest.hexdigest()}"


def fragment(
    fence: CacheFence, key: str, context: Context, render: Render, tags: Iterable[str], options: PolicyOptions, *,
    vary: Vary,
) -> SafeString:
    """What is stored under the key, or rendered now, in a copy of the context.

    vary: what the key was made of.

    Raises:
        What rendering raises, here or where it was waited for.
    """
    named = check_tags(tags)
    loaded = _loaded()
    if loaded is None and not named and has_begun(context):  # nobody knows what the view has loaded for it
        return mark_safe(str.__str__(render(copy.copy(context))))  # noqa: S308 (it is escaped, by a template)
    around = () if named or loaded is None else loaded.so_far()
    found = fence.begin(key, tags=named or around, **options)
    if isinstance(found, Served) and isinstance(found.value, str):
        inherit(found)
        learn(store_of(fence).identity, found.lease)
        return mark_safe(found.value)  # noqa: S308 (it was rendered, escaped, by a template)
    if isinstance(found, Lead):
        return mark_safe(_led(fence, found, context, render, vary))  # noqa: S308 (as above)
    depends_on(*named)
    return mark_safe(str.__str__(render(copy.copy(context))))  # noqa: S308 (as above)


def _led(fence: CacheFence, lead: Lead, context: Context, render: Render, vary: Vary) -> str:
    """Rendered for all who wait for it, if it is one for all."""
    own = lead.granted.lease if lead.granted is not None else None
    since = None if own is None else date_of(own, store_of(fence).identity, context)
    landing: Landing | None = None
    kept = _may_be_kept(_loaded())
    with fence.leading(lead, since=since) as block:
        shown = Oversight(context)
        try:
            with shown:
                rendered = str.__str__(render(shown.context))  # of exactly that type: a serializer knows no other
        except Exception as error:
            if not _is_for_others(shown.used, context, vary):
                block.pass_by()
                raise
            landing = block.fail(error)
            if not isinstance(landing, Served):
                raise
            rendered = landing.value
        else:
            if kept and _is_for_others(shown.used, context, vary):
                landing = block.finish(rendered)
            else:
                block.pass_by()
    _tell_around(block.recording, landing)
    return rendered


def _loaded() -> Recording | None:
    """Where it is recorded what the data of a fragment was loaded from, in a compute or since the request began.

    A process learns by its first fragment that there are some; what a request has loaded before nobody knows.
    """
    scope = current()
    if scope is not None:
        return scope.recording
    gather_from_now_on()
    return gathered()


def _may_be_kept(loaded: Recording | None) -> bool:
    """Whether what was loaded before the fragment may be shown to others."""
    return loaded is None or (loaded.storable and not loaded.private and not loaded.lag)


def _is_for_others(used: set[str], context: Context, vary: Vary) -> bool:
    """Whether somebody else may be shown what has used this of the visitor."""
    if not used:
        return True
    if not used.isdisjoint(ONCE):
        return False
    try:
        with Oversight(context) as asked:
            fragment_key("", vary(asked.context))  # which writes the values out
    except Exception:
        return False  # it has been evaluated before, so this says that it is not the same any more
    return used <= asked.used


def _tell_around(recorded: Recording, landing: Landing | None) -> None:
    """Hand upward what a fragment depends on, and that it is not to be stored if its parts are not."""
    if (around := _loaded()) is not None:
        around.absorb(recorded)
    if isinstance(landing, Served):
        inherit(landing)
