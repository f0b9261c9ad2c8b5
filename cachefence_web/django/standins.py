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


def identifies(name: str) -> bool:
    """Whether the server says by this name in `request.META` who is asking."""
    return name in _LOGINS or name.startswith("SSL_CLIENT_")


def of_one_client(name: str) -> bool:
    """Whether the server says by this name in `request.META` what is true of one client only, as his address."""
    return name.startswith(_OF_A_CONNECTION) and not identifies(name)


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

    def __init__(self, cookies: dict[str, str], read: Callable[[str | None], None]) -> None:
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
        return {name: value for name, value in self._meta.items()
                if self._conditions is None or name not in CONDITIONS}

    def __getitem__(self, name: str) -> Any:
        self._read(name)
        if self._conditions is not None and name in CONDITIONS:
            return self._conditions[name]
        return self._meta[name]

    def __iter__(self) -> Iterator[str]:
        self._read(None)
        return iter({**self.plain(), **(self._conditions or {})})

    def __len__(self) -> int:
        return len({**self.plain(), **(self._conditions or {})})

    def __setitem__(self, name: str, value: Any) -> None:
        self._meta[name] = value

    def __delitem__(self, name: str) -> None:
        del self._meta[name]

    def copy(self) -> dict[str, Any]:
        return dict(self)


class Headers(HttpHeaders):
    """`request.headers`, telling which fields are read."""

    def __init__(self, meta: Mapping[str, Any], read: Callable[[str | None], None]) -> None:
        super().__init__(meta)
        self._read = read

    def __iter__(self) -> Iterator[str]:
        self._read(None)
        return super().__iter__()

    def __getitem__(self, name: str) -> str:
        self._read("HTTP_" + name.replace("-", "_").upper())
        return super().__getitem__(name)
