"""Whether all statements of a transaction see the database as its first one found it.

Django tells the level that its settings choose. Where they choose none, PostgreSQL takes what its server, the database
or the role are configured to: it is asked for that, once for each database and user.
"""

from __future__ import annotations

import re
from contextlib import closing
from typing import Any

from cachefence_web.runtime.engine import log

_SNAPSHOT = re.compile(r"repeatable|serializable|snapshot", re.IGNORECASE)


def names_a_snapshot(text: str) -> bool:
    """Whether a text speaks of a level at which transactions see a snapshot."""
    return _SNAPSHOT.search(text) is not None


def has_snapshots(connection: Any) -> bool:
    """Whether that is so of the transactions of a connection."""
    level = getattr(connection, "isolation_level", None)
    match connection.vendor:
        case "postgresql":
            chosen = f"{getattr(level, 'name', level)} {connection.settings_dict.get('OPTIONS')}"
            return names_a_snapshot(chosen) or _by_default(connection)
        case "mysql":
            return str(level or "repeatable read").lower() not in ("read committed", "read uncommitted")
        case "oracle":
            return False
        case _:
            return True


def reads_on(connection: Any) -> bool:
    """Whether a cursor that is read in parts holds all that is read meanwhile at its date, outside of transactions too:
    that of SQLite in WAL mode. In its other modes nobody can write until the cursor is closed.
    """
    if connection.vendor != "sqlite":
        return False
    try:
        return str(connection.connection.execute("PRAGMA journal_mode").fetchone()[0]).lower() == "wal"
    except connection.Database.Error:  # it is locked, as the statement to come will find
        return True


def _by_default(connection: Any) -> bool:
    settings = connection.settings_dict
    name = tuple([str(settings.get(part)) for part in ("HOST", "PORT", "NAME", "USER", "OPTIONS")])
    if name not in _defaults and connection.connection is not None and connection.autocommit:
        try:
            with closing(connection.create_cursor()) as cursor:
                cursor.execute("SHOW default_transaction_isolation")
                _defaults[name] = names_a_snapshot(str(cursor.fetchone()[0]))
        except Exception as error:  # no connection is to fail because of it
            log.debug("the database %r did not tell its isolation level: %s", connection.alias, error)
    return _defaults.get(name, False)


_defaults: dict[tuple[str, ...], bool] = {}
