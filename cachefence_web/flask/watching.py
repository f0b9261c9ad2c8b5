"""Whether anybody looks at a visitor's cookies, whichever way they go to them: what stands for the environ notes it.

That a request has cookies at all is no secret: those with cookies and those without never share.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, KeysView, ValuesView
from typing import TYPE_CHECKING, Any, Self

from flask import Flask
from flask.globals import request_ctx
from werkzeug.datastructures import EnvironHeaders

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

_COOKIE = "HTTP_COOKIE"


class Watched(dict[str, Any]):
    """A request's environ, to those who use it: all is handed on, nothing kept.

    looked: whether the cookies were among what was read.
    """

    __slots__ = ("_environ", "looked")

    def __init__(self, environ: WSGIEnvironment) -> None:
        super().__init__()
        self._environ = environ
        self.looked = False

    def __getitem__(self, name: str) -> Any:
        self._read(name)
        return self._environ[name]

    def get(self, name: str, default: Any = None) -> Any:
        self._read(name)
        return self._environ.get(name, default)

    def setdefault(self, name: str, default: Any = None) -> Any:
        self._read(name)
        return self._environ.setdefault(name, default)

    def pop(self, name: str, *default: Any) -> Any:
        self._read(name)
        return self._environ.pop(name, *default)

    def popitem(self) -> tuple[str, Any]:
        return self._all().popitem()

    def items(self) -> ItemsView[str, Any]:  # type: ignore[override]
        return self._all().items()

    def values(self) -> ValuesView[Any]:  # type: ignore[override]
        return self._all().values()

    def copy(self) -> dict[str, Any]:
        return dict(self._all())

    def __or__(self, other: Any) -> Any:
        return self._all() | other

    def __ror__(self, other: Any) -> Any:
        return other | self._all()

    def __eq__(self, other: object) -> bool:
        return self._all() == other

    __hash__ = None

    def __repr__(self) -> str:
        return repr(self._all())

    def __reduce__(self) -> Any:
        return dict, (self.copy(),)

    def __setitem__(self, name: str, value: Any) -> None:
        self._environ[name] = value

    def __delitem__(self, name: str) -> None:
        del self._environ[name]

    def update(self, *others: Any, **more: Any) -> None:
        self._environ.update(*others, **more)

    def __ior__(self, other: Any) -> Self:  # type: ignore[override]
        self._environ.update(other)
        return self

    def clear(self) -> None:
        self._environ.clear()

    def keys(self) -> KeysView[str]:  # type: ignore[override]
        return self._environ.keys()

    # As it is overridden, `dict(environ)` and `**environ` ask the methods, too, instead of this empty dict.
    def __iter__(self) -> Iterator[str]:
        return iter(self._environ)

    def __reversed__(self) -> Iterator[str]:
        return reversed(self._environ)

    def __len__(self) -> int:
        return len(self._environ)

    def __contains__(self, name: object) -> bool:
        return name in self._environ

    def _read(self, name: object) -> None:
        if name == _COOKIE:
            self.looked = True

    def _all(self) -> dict[str, Any]:
        self.looked = True
        return self._environ


class _Headers(EnvironHeaders):
    """The fields of a watched request; who asks for one by its name has not looked at all of them."""

    def getlist(self, key: str, type: Any = None) -> list[Any]:  # noqa: A002 (werkzeug's)
        if key.lower() == "cookie":
            self.environ.get(_COOKIE)
        return EnvironHeaders(unwatched(self.environ)).getlist(key, type)

    def keys(self, lower: bool = False) -> Any:
        return EnvironHeaders(unwatched(self.environ)).keys(lower)

    def __len__(self) -> int:
        return len(EnvironHeaders(unwatched(self.environ)))


def watch(request: Any) -> None:
    """Note from now on what is read, by whoever has the request."""
    watched = request.environ = Watched(request.environ)
    if type(request.headers) in (EnvironHeaders, _Headers):
        request.headers = _Headers(watched)
    elif isinstance(request.headers, EnvironHeaders):
        request.headers.environ = watched
    else:
        watched.looked = True  # or may, by something that is not watched


def watch_from_now(app: Flask, **_: object) -> None:
    """When the session has read the cookies for itself: who reads them after this, the application asked to."""
    del app
    vars(request_ctx.request).pop("cookies", None)
    watch(request_ctx.request)


def has_looked(request: Any) -> bool:
    """Whether anybody has read the cookies since the request is watched; True for one that is not."""
    environ = request.environ
    return not isinstance(environ, Watched) or environ.looked or "cookies" in vars(request)


def unwatched(environ: WSGIEnvironment) -> WSGIEnvironment:
    """The server's own environ, for those who do not read it on behalf of the application."""
    while isinstance(environ, Watched):
        environ = environ._environ
    return environ
