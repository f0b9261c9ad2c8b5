"""What a view is handed for its request's cookies, header fields and nonce: each tells of its use and hands it on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any

from django.http.request import HttpHeaders
from django.utils.functional import LazyObject, SimpleLazyObject, empty

# What is done with a stored answer when it is served: a view that heeded them would answer for one client only.
CONDITIONS = frozenset(("HTTP_IF_NONE_MATCH", "HTTP_IF_MODIFIED_SINCE", "HTTP_RANGE", "HTTP_IF_RANGE"))


_LOGINS = frozenset(("REMOTE_USER", "AUTH_TYPE", "AUTH_USER", "LOGON_USER"))
_OF_A_CONNECTION = ("REMOTE_", "SSL_SESSION_", "GEOIP_", "UNIQUE_ID")

# CGI's (RFC 3875 section 4.1) and WSGI's own (PEP 3333), with what servers add to tell of a request's address.
_OF_A_REQUEST = frozenset((
    "GATEWAY_INTERFACE", "PATH_INFO", "PATH_TRANSLATED", "QUERY_STRING", "REQUEST_METHOD", "REQUEST_SCHEME",
    "REQUEST_URI", "RAW_URI", "SCRIPT_NAME", "SCRIPT_FILENAME", "SCRIPT_URI", "SCRIPT_URL", "CONTENT_TYPE",
    "CONTENT_LENGTH", "DOCUMENT_ROOT", "HTTPS", "CONTEXT_PREFIX", "CONTEXT_DOCUMENT_ROOT", "TZ"))
_OF_A_SERVER = ("SERVER_", "wsgi.", "cachefence.", "mod_wsgi.", "uwsgi.", "gunicorn.", "waitress.", "asgi.")


def identifies(name: str) -> bool:
    """Whether the server says by this name in `request.META` who is asking."""
    return name in _LOGINS or name.startswith("SSL_CLIENT_")


def of_one_client(name: str) -> bool:
    """Whether the server says by this name in `request.META` what is true of one client only, as his address."""
    return name.startswith(_OF_A_CONNECTION) and not identifies(name)


def of_the_server(name: str) -> bool:
    """Whether this name in `request.META` says what is the same for all who ask for a page.

    Header fields apart, what else stands there may be anybody's: servers tell by names of the operator's choice who
    has logged in by them, as Shibboleth's `eppn` and `OIDC_CLAIM_email`.
    """
    return name in _OF_A_REQUEST or name.startswith(_OF_A_SERVER)


def scope_of(request: object) -> dict[str, Any]:
    """The ASGI scope of a request, for what is no use of it by a view; empty, if it came from a WSGI server."""
    return unwrapped(getattr(request, "scope", None)) or {}


def unwrapped(value: Any) -> Any:
    """What a lazy value or a stand-in stands for; itself, if that is not known yet or it is neither."""
    while issubclass(type(value), LazyObject):  # isinstance() would have other proxies find out what they are
        known = vars(value)
        inner = known.get("_own", known.get("_wrapped", empty))
        if inner is empty or inner is None:
            return value
        value = inner
    return value


class Noting(SimpleLazyObject):  # type: ignore[type-arg]  # at run time it takes no argument
    """Anything, telling when it is first used."""

    def __init__(self, own: Any, note: Callable[[], None]) -> None:
        def use() -> Any:
            note()
            return own

        super().__init__(use)
        self.__dict__["_own"] = own


class Nonce(SimpleLazyObject):  # type: ignore[type-arg]  # at run time it takes no argument
    """A nonce, telling when it is used; it is true when the real one has been made, or may have been."""

    def __init__(self, own: object, note: Callable[[], None]) -> None:
        def use() -> object:
            note()
            return own

        super().__init__(use)
        self.__dict__["_own"] = own

    def __bool__(self) -> bool:
        own = self.__dict__["_own"]
        if isinstance(own, LazyObject) and own._wrapped is empty:
            return False
        return bool(str(self))


class Cookies(MutableMapping[str, str]):
    """The request's cookies, telling which of them are read: what is asked of a mapping comes down to these."""

    def __init__(self, cookies: MutableMapping[str, str], read: Callable[[str | None], None]) -> None:
        self._cookies = cookies
        self._read = read

    def __getitem__(self, name: str) -> str:
        self._read(name)
        return self._cookies[name]

    def __iter__(self) -> Iterator[str]:
        self._read(None)
        return iter(self._cookies)

    def __len__(self) -> int:
        self._read(None)
        return len(self._cookies)

    def __setitem__(self, name: str, value: str) -> None:
        self._cookies[name] = value

    def __delitem__(self, name: str) -> None:
        del self._cookies[name]

    def copy(self) -> dict[str, str]:
        return dict(self)


class Meta(MutableMapping[str, Any]):
    """`request.META` with other conditions, telling which fields are read from it; what is set goes to the real."""

    def __init__(
        self, meta: MutableMapping[str, Any], read: Callable[[str | None], None], conditions: Mapping[str, str] | None
    ) -> None:
        self._meta = meta
        self._read = read
        self._conditions = conditions

    def plain(self) -> dict[str, Any]:
        """What is there, but for conditions that are replaced; nothing counts as read by this."""
        there = self._meta.everything() if isinstance(self._meta, Meta) else self._meta
        return {name: value for name, value in there.items() if self._conditions is None or name not in CONDITIONS}

    def everything(self) -> dict[str, Any]:
        """What whoever reads it finds; nothing counts as read by this."""
        return {**self.plain(), **(self._conditions or {})}

    def __getitem__(self, name: str) -> Any:
        self._read(name)
        if self._conditions is not None and name in CONDITIONS:
            return self._conditions[name]
        return self._meta[name]

    def __iter__(self) -> Iterator[str]:
        self._read(None)
        if isinstance(self._meta, Meta):
            self._meta._read(None)
        return iter(self.everything())

    def __len__(self) -> int:
        return len(self.everything())

    def __setitem__(self, name: str, value: Any) -> None:
        self._meta[name] = value

    def __delitem__(self, name: str) -> None:
        del self._meta[name]

    def copy(self) -> dict[str, Any]:
        return dict(self)


class Headers(HttpHeaders):
    """`request.headers`, telling which fields are read.

    instead_of: what stood there; if that is a stand-in itself, it is told as well.
    """

    def __init__(self, meta: Mapping[str, Any], read: Callable[[str | None], None], instead_of: object = None) -> None:
        super().__init__(meta)

        def tell(name: str | None) -> None:
            read(name)
            if isinstance(instead_of, Headers):
                instead_of._read(name)

        self._read = tell

    def __iter__(self) -> Iterator[str]:
        self._read(None)
        return super().__iter__()

    def __getitem__(self, name: str) -> str:
        self._read("HTTP_" + name.replace("-", "_").upper())
        return super().__getitem__(name)
