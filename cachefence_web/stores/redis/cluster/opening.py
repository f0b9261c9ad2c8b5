"""From a URL that names nodes of a Cluster, or a client of the user's own, to how to connect to any of its nodes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import redis

from cachefence_web.errors import ConfigurationError
from cachefence_web.stores.opening import described
from cachefence_web.stores.redis.cluster.slots import Node, Remap
from cachefence_web.stores.redis.link import bounded
from cachefence_web.stores.redis.opening import Opening, opening

SCHEMES = {"redis+cluster": "redis", "rediss+cluster": "rediss"}

_PORT = 6379
_CLIENTS_OWN = ("cluster", "response_callbacks", "himport", "retry", "max_connections", "connection_class",
                "legacy_responses", "decode_responses", "protocol", "parser_class", "host", "port", "path",
                "redis_connect_func", "cache", "address_remap")


@dataclass(frozen=True, slots=True)
class ClusterOpening:
    """How to connect to a node: as `way`, but there. seeds: the nodes that the user named; remap: as `Slots.remap`."""

    way: Opening
    seeds: tuple[Node, ...]
    remap: Remap | None = None

    def to(self, node: Node) -> Opening:
        """How to connect to a node."""
        return replace(self.way, settings={**self.way.settings, "host": node.host, "port": node.port})


def is_cluster(where: Any) -> bool:
    """Whether it names a Cluster, or is a client of one."""
    if isinstance(where, str):
        return where.partition("://")[0].lower() in SCHEMES
    return hasattr(where, "nodes_manager")


def cluster_opening(where: Any, *, asynchronous: bool) -> ClusterOpening:
    """How to connect to the nodes of a Cluster.

    Raises:
        ConfigurationError: for a URL that names no nodes or another database than 0, or that redis-py cannot read.
    """
    seeds, first = _of_url(where) if isinstance(where, str) else _of_client(where)
    way = opening(first, asynchronous=asynchronous)
    if not isinstance(first, str):
        first.close()
    if way.settings.get("db"):
        raise ConfigurationError("a Redis Cluster has only the database 0: leave the number out of the URL")
    place = "cluster:" + ",".join(sorted({*map(str, seeds)}))
    way = replace(way, place=place)
    remap = None if isinstance(where, str) else where.nodes_manager.address_remap
    return ClusterOpening(way if asynchronous else bounded(way), seeds, remap)


def _of_url(url: str) -> tuple[tuple[Node, ...], str]:
    parts = urlsplit(url)
    user, at, hosts = parts.netloc.rpartition("@")
    try:
        seeds = tuple(_seed(host) for host in hosts.split(","))
    except ValueError:
        raise ConfigurationError(
            f"{described(url)} names no nodes of a Redis Cluster: write {parts.scheme}://host:port,host:port") from None
    return seeds, parts._replace(scheme=SCHEMES[parts.scheme], netloc=f"{user}{at}{hosts.split(',')[0]}").geturl()


def _seed(text: str) -> Node:
    named = urlsplit(f"//{text}")
    port = _PORT if named.port is None else named.port
    if not named.hostname or named.username is not None or named.path or not port:
        raise ValueError(text)
    return Node(named.hostname, port)


def _of_client(client: Any) -> tuple[tuple[Node, ...], Any]:
    """The seeds of a client for threads, or for event loops, and a client of one node with its settings."""
    manager = client.nodes_manager
    settings = dict(getattr(client, "connection_kwargs", None) or manager.connection_kwargs)
    seeds = tuple(Node(node.host, int(node.port)) for node in manager.startup_nodes.values())
    kept = {name: value for name, value in settings.items() if not name.startswith(_CLIENTS_OWN)}
    tls = bool(kept.pop("ssl", False)) or issubclass(settings.get("connection_class", object), _TLS)
    kind = redis.SSLConnection if tls else redis.Connection
    pool = redis.ConnectionPool(connection_class=kind, host=seeds[0].host, port=seeds[0].port, **kept)
    return seeds, redis.Redis(connection_pool=pool)


_TLS = (redis.SSLConnection, redis.asyncio.SSLConnection)
