"""Redis Cluster: `routing.py` says which node is told what, once; `link.py` and `line.py` tell it."""

from cachefence_web.stores.redis.cluster.stores import AsyncClusterStore, ClusterStore

__all__ = ["AsyncClusterStore", "ClusterStore"]
