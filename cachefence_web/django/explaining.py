"""What a page depends on, and by which statements: it is asked for once, and everything in it is made anew.

The request is a GET through the site's own middleware. Nothing of it is served from the cache, or stored there: pages,
fragments and values are made as if the store were away. What the view itself does, it does: this is one more visit.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from django.apps import apps
from django.conf import settings

from cachefence_web.core.recording import Recording
from cachefence_web.django.alias import VIEWS
from cachefence_web.django.narrowing import advice
from cachefence_web.errors import CacheFenceError
from cachefence_web.responding.telling import brief, told_of
from cachefence_web.runtime.recording import explaining

_FRAGMENT = "template.cachefence."
_SHOWN = 160
_WIDEST = 40
_ORDER = ("row", "table", "rows", "database", "named", "address")
_MEANING = {
    "rows": "rows of statements that do not tell which they write",
    "database": "what is written in a way that nobody understands",
    "address": "the page's own: a POST to it forgets the page",
}
_REASONS = {
    "personal": "the view, or something before it, has looked at the user, the session, a cookie, messages or a"
                " CSRF token: it is this visitor's alone",
    "set-cookie": "it sets a cookie",
    "status": "its status is none that is stored",
    "vary": "its Vary is *",
    "no-store": "its Cache-Control says no-store",
    "private": "its Cache-Control says private",
    "no-freshness": "it does not say how long it is fresh",
}


class Unexplained(CacheFenceError):
    """There is nothing to explain, and the message says why."""


@dataclass(frozen=True, slots=True)
class Depends:
    """One tag, and where it came from.

    what: "row"; "table", any change of which ends what depends on it; "rows", written by statements that do not tell
        which; "database", for writes that nobody understands; "named" by the code, or carried by a value that was
        stored; "address", that of the page, which a POST to it forgets.
    statements: those that it came from, here or in a value used here.
    """

    tag: str
    what: str
    statements: list[str]


@dataclass(frozen=True, slots=True)
class Made:
    """A page, a fragment or a value that was made for the answer.

    why: it would not be stored; None if it would be.
    advice: how it could depend on less.
    """

    kind: str
    key: str
    stored: bool
    why: str | None
    depends: list[Depends]
    advice: list[str]


@dataclass(frozen=True, slots=True)
class Explained:
    """What came of the request.

    view: the one that the URL leads to.
    cached: whether a page was made by a cached view, or under a site's rule.
    """

    url: str
    status: int
    view: str
    cached: bool
    made: list[Made] = field(default_factory=list)


def explain(url: str, user: str | None = None) -> Explained:
    """Ask for a URL, of this site or with a host of its own, as somebody who is logged in or as nobody.

    Raises:
        Unexplained: if the URL leads nowhere, the view fails, or nothing that is cached was made.
    """
    scheme, host, target = _target(url)
    with _known(user) as cookies, explaining(anew=True) as found:
        response = _answer(scheme, host, target, cookies)
    match = response.wsgi_request.resolver_match  # not what the address alone leads to: middleware may have a say
    view = match._func_path if match is not None else ""
    if not found:
        raise Unexplained(_nothing(response, target, view))
    kept = [(key, recorded, told_of(recorded, None)) for key, recorded in found]
    sources: dict[str, dict[str, None]] = {}
    for _, _, told in kept:
        for tag, statements in told.items():
            sources.setdefault(tag, {}).update(dict.fromkeys(statements))
    made = [_made(key, recorded, {
        # What has come without a statement has come with a value that was made from one.
        tag: [each for each in (sources[tag] if "" in statements else statements) if each]
        for tag, statements in told.items()}) for key, recorded, told in kept]
    return Explained(
        f"{scheme}://{host}{target}", response.status_code, view, any(each.kind == "page" for each in made), made)


def _target(url: str) -> tuple[str, str, str]:
    try:
        parts = urlsplit(url)
    except ValueError:  # brackets without an address in them
        parts = urlsplit("")
    if (parts.scheme not in ("", "http", "https")) or not parts.path.startswith("/") or bool(parts.scheme) \
            is not bool(parts.netloc):
        raise Unexplained(f"{url!r} is no URL of a page: write /books/1/, or https://shop.example/books/1/")
    scheme = parts.scheme or ("https" if settings.SECURE_SSL_REDIRECT else "http")
    return scheme, parts.netloc or _host(), parts.path + (f"?{parts.query}" if parts.query else "")


def _host() -> str:
    """One that the site answers to."""
    named = [host.removeprefix(".") for host in settings.ALLOWED_HOSTS if host != "*"]
    return named[0] if named else "localhost"


def _answer(scheme: str, host: str, target: str, cookies: dict[str, str]) -> Any:
    from django.test import Client  # only for those who ask: it brings the tools of tests along

    client = Client(raise_request_exception=True)
    client.cookies.load(cookies)
    try:
        response = client.get(target, secure=scheme == "https", headers={"host": host})
    except Exception as failed:
        raise Unexplained(f"{target} fails: {type(failed).__name__}: {failed}") from failed
    response.close()
    return response


@contextmanager
def _known(name: str | None) -> Iterator[dict[str, str]]:
    """The cookies of somebody who is logged in, in a session that ends with the block; nothing else is written."""
    if name is None:
        yield {}
        return
    for needed in ("django.contrib.auth", "django.contrib.sessions"):
        if not apps.is_installed(needed):
            raise Unexplained(f"--user needs {needed} in INSTALLED_APPS")
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model

    model: Any = get_user_model()
    try:
        user = model._default_manager.get_by_natural_key(name)
    except model.DoesNotExist:
        raise Unexplained(f"there is no user {name!r}") from None
    session = import_module(settings.SESSION_ENGINE).SessionStore()
    session[SESSION_KEY] = model._meta.pk.value_to_string(user)
    session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    try:
        yield {settings.SESSION_COOKIE_NAME: session.session_key}
    finally:
        session.delete()


def _nothing(response: Any, target: str, view: str) -> str:
    """Why there is nothing to explain."""
    status = response.status_code
    if not view and status == 404:
        return f"{target} leads to no view: no URL pattern matches it"
    if 300 <= status < 400:
        return f"{target} is answered with {status} to {response.headers.get('Location')}: ask for that"
    if status == 400 and not view:
        return f"{target} is answered with 400: is the host among ALLOWED_HOSTS?"
    said = response.headers.get("Cache-Status")
    if said is not None:
        return f"{target} is answered past the cache ({said}), by {view}"
    return f"{target} is answered with {status} by {view or 'middleware'}, and nothing that is cached was made for it"


def _made(key: str, recorded: Recording, sources: dict[str, list[str]]) -> Made:
    why = recorded.why
    kind = "page" if key.startswith(VIEWS) else "fragment" if _FRAGMENT in key else "value"
    depends = [Depends(tag, _what(tag, statements), statements) for tag, statements in sources.items()]
    depends.sort(key=lambda each: (_ORDER.index(each.what), each.tag))
    tables = {each.tag: each.statements for each in depends if each.what == "table"}
    stored = why is None and recorded.storable and not recorded.private
    return Made(kind, key, stored, why and _REASONS.get(why, why), depends, advice(tables))


def _what(tag: str, statements: list[str]) -> str:
    if tag.startswith("url:"):
        return "address"
    if not statements:
        return "named"
    table, colon, row = tag.rpartition(":")
    if not colon:
        return "table"
    if row == "*":
        return "database" if table.rpartition(".")[2] == "db" else "rows"
    return "row"


def lines_of_explained(found: Explained, *, whole: bool) -> Iterator[str]:
    """For people.

    whole: each statement to its end.
    """
    yield f"{found.status} {found.url}  by {found.view or 'middleware'}"
    if not found.cached:
        yield "The page itself is not cached; what follows was made for it, and is."
    for made in found.made:
        yield ""
        yield f"{made.kind:<9} {made.key}"
        yield f"{'stored':<9} {'yes' if made.stored else f'no: {made.why}'}"
        width = min(_WIDEST, max((len(each.tag) for each in made.depends if each.what != "address"), default=0))
        for each in made.depends:
            shown = [statement if whole else brief(statement, _SHOWN) for statement in each.statements]
            first, *others = [_MEANING[each.what]] if each.what in _MEANING else shown or [""]
            yield f"{each.what:<9} {each.tag:<{width}}  {first}".rstrip()
            yield from (f"{'':<9} {'':<{width}}  {other}" for other in others)
        yield from (f"{'narrow':<9} {hint}" for hint in made.advice)
