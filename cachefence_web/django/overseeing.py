"""What of the one who asks is used in a block: on his request itself, and under whatever names a context has of it.

A request has stand-ins for what is the visitor's while the block lasts, so that it does not matter who holds it: a
tag, a view, a closure. A context has them for each value that is the user, the session, the messages or the token,
wraps one of them lazily, is a method of one, or holds one itself. What was made of them before the block, as a name or
a basket that the view has loaded, bears no trace of it, and is not seen.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial, wraps
from types import FunctionType, MethodType
from typing import Any, Self

from django.conf import settings
from django.http import HttpRequest
from django.template import Context
from django.utils.functional import LazyObject, SimpleLazyObject

from cachefence_web.django.standins import Cookies, Headers, Meta, Nonce, Noting, of_the_server, unwrapped
from cachefence_web.django.watching import CSRF, NONCES, REMEMBERED, belongs

ONCE = frozenset(("csrf_token", "csp_nonce", "messages"))
"""What no two visits share, whatever a fragment varies on."""

_ALL = "all that was sent"
_IN_CONTEXT = {"user": "user", "perms": "user", **{name: name for name in ONCE}}
_ON_REQUEST = {"user": "user", "session": "session", "_messages": "messages"}
_SENT = frozenset(("POST", "FILES", "body", "data", "auth"))
_PLAIN = (str, bytes, int, float, type(None), type)
_ABSENT = object()


class Oversight:
    """A block in which `context`, a copy of the one given, is used; `used` is what was used in it of the visitor.

    used: "user", "session", cookies, header fields as in `request.META`, "request.basket" for what middleware has put
        there, or some of ONCE.
    """

    def __init__(self, context: Context) -> None:
        self.used: set[str] = set()
        self.context = copy.copy(context)
        self._replaced: list[tuple[HttpRequest, str, Any, Any]] = []
        self._kinds: dict[int, tuple[Any, str]] = {}
        self._stand_ins: dict[int, tuple[Any, Any]] = {}

    def __enter__(self) -> Self:
        try:
            self._begin(self.context)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for request, name, own, stand_in in reversed(self._replaced):
            there = vars(request)
            if there.get(name) is not stand_in:
                self.used.add(f"another {name}")  # somebody logged in
            elif own is _ABSENT:
                del there[name]
            else:
                setattr(request, name, own)

    def _begin(self, context: Any) -> None:
        values = context.flatten()
        asked = getattr(context, "request", None)
        for request in _requests_of((asked, *values.values())):
            self._watch(request)
        for name, kind in _IN_CONTEXT.items():
            self._know(values.get(name), kind)
        made = {name: self._made_of(value) for name, value in values.items()} | {
            name: Noting(values[name], self._noting(kind)) for name, kind in _IN_CONTEXT.items()
            if values.get(name) is not None}
        context.update({name: stand_in for name, stand_in in made.items() if stand_in is not values[name]})
        if asked is not None:
            context.request = self._made_of(asked)

    def _watch(self, request: HttpRequest) -> None:
        there = vars(request)
        for name in ("_cached_user", "_acached_user"):
            self._know(there.get(name), "user")
        for name, kind in _ON_REQUEST.items():
            if name in there:
                self._know(there[name], kind)
                self._replace(request, name, Noting(there[name], self._noting(kind)))
        for name in NONCES:
            if name in there:
                self._replace(request, name, Nonce(there[name], self._noting("csp_nonce")))
        if "auser" in there:
            self._replace(request, "auser", _noting_call(there["auser"], self._noting("user")))
        if "scope" in there:
            self._replace(request, "scope", Noting(there["scope"], self._noting(_ALL)))
        for name in REMEMBERED:
            there.pop(name, None)
        self._replace(request, "COOKIES", Cookies(request.COOKIES, self._read_cookie))
        meta = Meta(request.META, self._read_field, None)
        self._replace(request, "headers", Headers(meta.everything(), self._read_field, there.get("headers")))
        if there.get("environ") is request.META:
            self._replace(request, "environ", meta)
        self._replace(request, "META", meta)

    def _replace(self, request: HttpRequest, name: str, stand_in: Any) -> None:
        # A request makes its headers of META when it is first asked for them.
        own = vars(request).get(name, _ABSENT) if name == "headers" else getattr(request, name)
        self._replaced.append((request, name, own, stand_in))
        for each in _identities(own):
            self._stand_ins[id(each)] = each, stand_in
        setattr(request, name, stand_in)

    def _know(self, value: Any, kind: str) -> None:
        """Recognize it under other names, and within what holds it."""
        for each in _identities(value):
            self._kinds[id(each)] = each, kind

    def _made_of(self, value: Any) -> Any:
        """What stands in for a value of the context; the value, if it is nothing of a visitor's."""
        plain = unwrapped(value)
        if _is_request(plain):
            return _Asked(value, partial(self._look, plain))
        for each in (value, plain):
            if id(each) in self._stand_ins:
                return self._stand_ins[id(each)][1]
        kind = self._kind_of((value, *_parts(plain)))
        if kind is not None:
            return (_noting_call if _is_called(plain) else Noting)(value, self._noting(kind))
        held = _attributes(plain).get("request")
        return _Holding(value, self._made_of(held)) if _is_request(unwrapped(held)) else value

    def _kind_of(self, values: Iterable[Any]) -> str | None:
        """What is the first of these that is a visitor's."""
        for each in values:
            for one in (each, unwrapped(each)):
                if id(one) in self._kinds:
                    return self._kinds[id(one)][1]
                if id(one) in self._stand_ins:
                    return _ALL
        return None

    def _noting(self, kind: str) -> Callable[[], None]:
        return partial(self.used.add, kind)

    def _look(self, request: Any, name: str) -> None:
        """Note what stands on a request and has no stand-in there: what it brought, and what middleware made of it."""
        there = {**_attributes(getattr(request, "_request", None)), **_attributes(request)}
        if name in _ON_REQUEST and name not in _attributes(request):  # as with Django REST framework, which looks
            self.used.add(_ON_REQUEST[name])
        elif name in _SENT or (name in there and belongs(request, name) and belongs(HttpRequest, name)):
            self.used.add(f"request.{name}")

    def _read_cookie(self, name: str | None) -> None:
        self.used.add(_ALL if name is None else f"cookie {name}")

    def _read_field(self, name: str | None) -> None:
        if name is None:
            self.used.add(_ALL)
        elif name in CSRF:
            self.used.add("csrf_token")
        elif not of_the_server(name) and name not in _of_the_address():
            self.used.add(name)


class _Asked(SimpleLazyObject):  # type: ignore[type-arg]  # at run time it takes no argument
    """A request in a template: what is asked of it is told."""

    def __init__(self, request: Any, look: Callable[[str], None]) -> None:
        super().__init__(lambda: request)
        self.__dict__.update(_own=request, _look=look)

    def __getattr__(self, name: str) -> Any:
        self.__dict__["_look"](name)
        return getattr(self.__dict__["_own"], name)


class _Holding(SimpleLazyObject):  # type: ignore[type-arg]  # as above
    """What has the request among its attributes, as a view: there another stands for it."""

    def __init__(self, own: Any, request: Any) -> None:
        super().__init__(lambda: own)
        self.__dict__.update(_own=own, _request=request)

    def __getattr__(self, name: str) -> Any:
        return self.__dict__["_request"] if name == "request" else getattr(self.__dict__["_own"], name)


def _noting_call(own: Callable[..., Any], note: Callable[[], None]) -> Callable[..., Any]:
    @wraps(own)
    def noting(*args: Any, **kwargs: Any) -> Any:
        note()
        return own(*args, **kwargs)

    return noting


def _requests_of(values: Iterable[Any]) -> Iterable[HttpRequest]:
    """Django's own requests among these, each once: a value may be one, wrap one, or have one."""
    found: dict[int, HttpRequest] = {}
    for value in values:
        plain = unwrapped(value)
        for each in (plain, unwrapped(_attributes(plain).get("request"))):
            own: Any = each if _is(each, HttpRequest) else _attributes(each).get("_request")
            if _is(own, HttpRequest):
                found[id(own)] = own
    return found.values()


def _is_request(value: Any) -> bool:
    """Django's, or what Django REST framework wraps it in."""
    return _is(value, HttpRequest) or _is(_attributes(value).get("_request"), HttpRequest)


def _is_called(value: Any) -> bool:
    """Whether a template calls it, rather than asking it for something."""
    return callable(value) and not getattr(value, "do_not_call_in_templates", False)


def _parts(value: Any) -> Iterable[Any]:
    """What a value holds itself; what that holds in turn may be anything."""
    if _is(value, MethodType):
        return (value.__self__,)
    if _is(value, partial):
        return (*_parts(value.func), *value.args, *value.keywords.values())
    if _is(value, FunctionType):
        return _parts_of_function(value)
    if _is(value, dict):
        return tuple(value.values())
    if _is(value, list | tuple):
        return tuple(value)
    if _is(value, LazyObject):
        return _parts(_attributes(value).get("_setupfunc"))
    return _attributes(value).values()


def _parts_of_function(function: Any) -> Iterable[Any]:
    own = inspect.unwrap(function)
    if own is not function:
        return _parts(own)
    held = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    for cell in function.__closure__ or ():
        with suppress(ValueError):  # nothing is in it yet
            held.append(cell.cell_contents)
    return held


def _attributes(value: Any) -> dict[str, Any]:
    """Those of the instance alone; nothing is computed by asking."""
    there = () if _is(value, type) else getattr(value, "__dict__", ())
    return there if isinstance(there, dict) else {}


def _identities(value: Any) -> list[Any]:
    """By which an object is known again; a plain value is the same wherever it came from."""
    return [each for each in (value, unwrapped(value)) if not _is(each, _PLAIN)]


def _is(value: Any, kind: Any) -> bool:
    """As isinstance(), which would have a lazy value find out what it is."""
    return issubclass(type(value), kind)


def _of_the_address() -> frozenset[str]:
    """The header fields of which Django makes the address of a page, as these settings have it."""
    proxy = settings.SECURE_PROXY_SSL_HEADER
    return frozenset((
        "HTTP_HOST", *(["HTTP_X_FORWARDED_HOST"] if settings.USE_X_FORWARDED_HOST else []),
        *(["HTTP_X_FORWARDED_PORT"] if settings.USE_X_FORWARDED_PORT else []), *([proxy[0]] if proxy else [])))
