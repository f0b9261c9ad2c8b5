"""Redis behind Sentinels: each new connection asks them where the primary is, and sees for itself that it is one.

A Sentinel may be away, silent, or behind the others during a failover, so none is trusted alone: threads ask one after
the other, each within its share of what is left until the deadline; event loops ask all at once.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

import redis
import redis.asyncio.sentinel
import redis.sentinel
from redis.asyncio import connection as async_connection
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, ReadOnlyError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry

from cachefence_web.stores.redis.refusals import BROKEN

SCHEMES = ("redis+sentinel", "rediss+sentinel")
PORT = 26379

_GOODBYE = 0.2
"""Seconds for a Sentinel to answer that we leave."""

Address = tuple[str, int]


class Punctual:
    """Mixed into redis-py's connections for threads, in front of them: all addresses of a host share one deadline."""

    deadline = math.inf

    @property
    def socket_connect_timeout(self) -> float | None:
        """Seconds for the next address: redis-py reads this before it tries each."""
        return max(0.001, self.deadline - monotonic())

    @socket_connect_timeout.setter
    def socket_connect_timeout(self, _: float | None) -> None:
        """The deadline decides."""


@dataclass(slots=True)
class Sentinels:
    """Who watches over a service.

    addresses: the one that answered last comes first.
    settings: what a client of a Sentinel is told beyond its address; with TLS and passwords, if any.
    least: how many other Sentinels one must see to be believed.
    instead: the host to connect to in place of the one they name, as behind a translated network.
    """

    service: str
    addresses: list[Address]
    settings: Mapping[str, Any] = field(default_factory=dict)
    least: int = 0
    instead: str | None = None

    @property
    def place(self) -> str:
        """Equal for equal Sentinels and services, in whatever order they are named."""
        named = ",".join(sorted({f"{host.lower()}:{port}" for host, port in self.addresses}))
        return f"sentinel:{named}/{self.service}"

    def primaries(self, deadline: float) -> Iterator[Address]:
        """Each address that a Sentinel takes for the primary's, the likeliest first.

        Raises:
            RedisError, OSError: at the end; nobody asks for more once a connection is made.
        """
        failed: list[str] = []
        asked = list(self.addresses)
        for number, address in enumerate(asked):
            share = max(0.001, (deadline - monotonic()) / (len(asked) - number + 1))
            manager = self._manager(
                redis.sentinel.Sentinel, address, Retry(NoBackoff(), 0), socket_timeout=share,
                socket_connect_timeout=share)
            (client,) = manager.sentinels
            pool = client.connection_pool
            pool.connection_class = _punctual(pool.connection_class, monotonic() + share)
            try:
                with suppress(NoPermissionError):
                    client.ping()
                found: Address = manager.discover_master(self.service)
            except BROKEN as error:
                failed.append(_reason(address, error))
                continue
            finally:
                client.close()
            self._prefer(address)
            yield found
        raise self.unfound(failed)

    async def primary(self, address: Address) -> Address:
        """What one of them takes for the primary's address."""
        manager = self._manager(redis.asyncio.sentinel.Sentinel, address, AsyncRetry(NoBackoff(), 0))
        (client,) = manager.sentinels
        made: list[Any] = []
        pool = client.connection_pool
        pool.connection_class = _noted(pool.connection_class, made)
        try:
            with suppress(NoPermissionError):
                await client.ping()
            found: Address = await manager.discover_master(self.service)
        except BROKEN as error:
            raise RedisConnectionError(_reason(address, error)) from error
        else:
            return found
        finally:
            with suppress(*BROKEN):
                async with asyncio.timeout(_GOODBYE):
                    # The pool would do it in tasks of their own, which an ending loop cancels before they begin.
                    for connection in made:
                        await connection.disconnect()

    def _manager(self, kind: Any, address: Address, retry: Any, **timeouts: float) -> Any:
        settings = {**self.settings, "protocol": 2, "retry": retry, "socket_timeout": None,
                    "socket_connect_timeout": None, **timeouts}
        return kind([address], self.least, settings, self.instead)

    def _prefer(self, address: Address) -> None:
        if self.addresses[0] != address:
            self.addresses = [address, *[other for other in self.addresses if other != address]]

    def unfound(self, failed: list[str]) -> RedisConnectionError:
        """What to raise when none of them could tell."""
        return RedisConnectionError(
            f"no Sentinel knows of a primary of {self.service!r} that can be used: {'; '.join(failed)}")


def _punctual(kind: type[Any], deadline: float) -> type[Any]:
    return type(f"Punctual{kind.__name__}", (Punctual, kind), {"deadline": deadline})


def _noted(kind: type[Any], made: list[Any]) -> type[Any]:
    """The same connections, each of which is noted when it is made."""

    def note(connection: Any, **settings: Any) -> None:
        kind.__init__(connection, **settings)
        made.append(connection)

    return type(f"Noted{kind.__name__}", (kind,), {"__init__": note})


def _reason(address: Address, error: Exception) -> str:
    """Why one of them could not tell."""
    remedy = "; correct sentinel_username and sentinel_password" if isinstance(error, AuthenticationError) else ""
    return f"{address[0]}:{address[1]}: {str(error).rstrip('.')}{remedy}"


def of_url(url: str) -> tuple[Sentinels, str]:
    """The Sentinels that a URL names, and the rest of it as a URL of a plain Redis.

    Raises:
        ValueError: for what is no such URL.
    """
    parts = urlsplit(url)
    user, at, hosts = parts.netloc.rpartition("@")
    addresses = [_address(host) for host in hosts.split(",")]
    service, _, database = unquote(parts.path).strip("/").partition("/")
    if not service:
        raise ValueError("the path names the service that the Sentinels watch, and a database, such as /mymaster/0")
    query = parse_qsl(parts.query, keep_blank_values=True)
    settings = {name.removeprefix("sentinel_"): value for name, value in query
                if name in {"sentinel_username", "sentinel_password"}}
    rest = urlencode([(name, value) for name, value in query if not name.startswith("sentinel_")])
    unknown = [name for name, _ in query
               if name.startswith("sentinel_") and name.removeprefix("sentinel_") not in settings]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is none of sentinel_username and sentinel_password")
    scheme = parts.scheme.partition("+")[0]
    host, port = addresses[0]
    netloc = f"{user}{at}[{host}]:{port}" if ":" in host else f"{user}{at}{host}:{port}"
    return Sentinels(service, addresses, settings), urlunsplit((scheme, netloc, f"/{database}", rest, ""))


def of_pool(pool: Any) -> Sentinels | None:
    """Those behind a client that `Sentinel(...).master_for(...)` has made; None for any other.

    Raises:
        ValueError: for one of `slave_for`, which takes no writes.
    """
    manager = getattr(pool, "sentinel_manager", None)
    if manager is None:
        return None
    if not pool.is_master:
        raise ValueError("it leads to replicas, which take no writes: give the client of master_for(...)")
    known = [client.connection_pool.connection_kwargs for client in manager.sentinels]
    settings = {name: value for name, value in manager.sentinel_kwargs.items() if name != "decode_responses"}
    return Sentinels(
        pool.service_name, [(each.get("host", "localhost"), int(each.get("port", PORT))) for each in known], settings,
        manager.min_other_sentinels, getattr(manager, "_force_master_ip", None))


def _address(text: str) -> Address:
    parts = urlsplit(f"//{text}")
    if not parts.hostname or "@" in text:
        raise ValueError(f"{text!r} is no host of a Sentinel: write host:{PORT}, and a comma between two")
    return parts.hostname, PORT if parts.port is None else parts.port


class FoundConnection(Punctual, redis.Connection):
    """A connection for threads to whatever the Sentinels take for the primary; `deadline` is when finding it ends."""

    def __init__(self, *, sentinels: Sentinels, **settings: Any) -> None:
        self._sentinels = sentinels
        super().__init__(**settings)  # type: ignore[no-untyped-call]

    def connect(self) -> None:
        """Find the primary and connect."""
        tried: dict[Address, Exception] = {}
        try:
            for address in self._sentinels.primaries(self.deadline):
                if address not in tried:
                    refused = self._try(address)
                    if refused is None:
                        return
                    tried[address] = refused
        except BROKEN as unfound:
            raise next(iter(tried.values()), unfound) from None

    def _try(self, address: Address) -> Exception | None:
        self.host, self.port = address
        try:
            super().connect()  # type: ignore[no-untyped-call]
            self._confirm()
        except BROKEN as error:
            self.disconnect()  # type: ignore[no-untyped-call]
            return error
        return None

    def _confirm(self) -> None:
        with suppress(NoPermissionError):
            self.send_command("ROLE", check_health=False)  # type: ignore[no-untyped-call]
            _must_be_primary(self.read_response())


class FoundSSLConnection(FoundConnection, redis.SSLConnection):
    """The same over TLS."""


class AsyncFoundConnection(async_connection.Connection):
    """A connection for event loops to whatever the Sentinels take for the primary."""

    def __init__(self, *, sentinels: Sentinels, **settings: Any) -> None:
        self._sentinels = sentinels
        super().__init__(**settings)

    async def connect(self) -> None:
        """Find the primary and connect; it is the caller who says how long that may take."""
        sentinels = self._sentinels
        asking = [asyncio.ensure_future(sentinels.primary(address)) for address in sentinels.addresses]
        tried: dict[Address, Exception] = {}
        unfound: list[str] = []
        try:
            for answered in asyncio.as_completed(asking):
                try:
                    address = await answered
                except BROKEN as error:
                    unfound.append(str(error))
                    continue
                if address not in tried:
                    refused = await self._try(address)
                    if refused is None:
                        return
                    tried[address] = refused
        finally:
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
        raise next(iter(tried.values()), sentinels.unfound(unfound))

    async def _try(self, address: Address) -> Exception | None:
        self.host, self.port = address
        try:
            await super().connect()  # type: ignore[no-untyped-call]
            await self._confirm()
        except BROKEN as error:
            await self.disconnect()
            return error
        return None

    async def _confirm(self) -> None:
        with suppress(NoPermissionError):
            await self.send_command("ROLE", check_health=False)
            _must_be_primary(await self.read_response())


class AsyncFoundSSLConnection(AsyncFoundConnection, async_connection.SSLConnection):
    """The same over TLS."""


def _must_be_primary(role: Any) -> None:
    if role[0] != b"master":
        raise ReadOnlyError("the Sentinels took it for the primary, which it is no longer")


def found_by(sentinels: Sentinels, plain: type[Any], settings: dict[str, Any], *, asynchronous: bool) -> type[Any]:
    """The class of connections that are found by Sentinels, over TLS if the plain ones are; completes the settings."""
    tls = issubclass(plain, redis.SSLConnection | async_connection.SSLConnection)
    if tls and "ssl" not in sentinels.settings:
        sentinels.settings = {**{name: value for name, value in settings.items() if name.startswith("ssl_")},
                              "ssl": True, **sentinels.settings}
    settings["sentinels"] = sentinels
    if asynchronous:
        return AsyncFoundSSLConnection if tls else AsyncFoundConnection
    return FoundSSLConnection if tls else FoundConnection
