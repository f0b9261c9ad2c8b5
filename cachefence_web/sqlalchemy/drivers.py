"""What only the driver can say: whether a transaction is open, and whether a COMMIT that failed was certainly none."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Dialect
from sqlalchemy.pool import PoolProxiedConnection

AUTOCOMMIT = "AUTOCOMMIT"

_DATED_BY_STATEMENT = (AUTOCOMMIT, "READ COMMITTED", "READ UNCOMMITTED")
_BEGIN_FOR = ("INSERT", "UPDATE", "DELETE", "REPLACE")  # Python's sqlite3 begins a transaction for no other word
_UNDONE = ("23", "40")  # SQLSTATE: a constraint that was deferred, a transaction that was rolled back
_NOBODY_KNOWS = "40003"
_IN_TRANSACTION = 1  # MySQL's SERVER_STATUS_IN_TRANS
_MYSQL = ("mysql", "mariadb")


def in_transaction(driver: Any) -> bool | None:
    """Whether one is open to the knowledge of a driver's connection; None if it has none."""
    found = getattr(driver, "in_transaction", None)  # sqlite3, aiosqlite
    if isinstance(found, bool):
        return found
    status = getattr(getattr(driver, "info", None), "transaction_status", None)  # psycopg, psycopg2
    if status is not None:
        return int(status) != 0
    status = getattr(driver, "server_status", None)  # PyMySQL, aiomysql: the server says it with each answer
    if isinstance(status, int):
        return bool(status & _IN_TRANSACTION)
    asked = getattr(driver, "is_in_transaction", None)  # asyncpg
    return bool(asked()) if callable(asked) else None


def commits_alone(connection: Connection, text: str) -> bool:
    """Whether a statement that writes is its own transaction, as far as can be told before it is run."""
    driver: Any = connection.connection.driver_connection
    if in_transaction(driver):
        return False
    if isolation_level(connection) == AUTOCOMMIT or _autocommits(driver, connection.dialect.name):
        return True
    if connection.dialect.name != "sqlite":
        return False
    return getattr(driver, "isolation_level", "") is None or not text.lstrip()[:7].upper().startswith(_BEGIN_FOR)


def _autocommits(driver: Any, dialect: str) -> bool:
    """Whether the driver was told so without SQLAlchemy. MySQL Connector's `autocommit` would ask the server, in the
    midst of whatever it is at; what its statements have committed is noticed right after them.
    """
    if dialect in _MYSQL:
        asked = getattr(driver, "get_autocommit", None)  # mysqlclient, PyMySQL, aiomysql, asyncmy
        return bool(asked()) if callable(asked) else False
    return getattr(driver, "autocommit", None) is True


def sees_a_snapshot(connection: Connection) -> bool:
    """Whether what a transaction reads is as old as its first statement; SQLite's does, as soon as it is open."""
    if connection.dialect.name == "sqlite":
        return True
    level = isolation_level(connection)
    return level is not None and level not in _DATED_BY_STATEMENT


def sees_uncommitted(connection: Connection) -> bool:
    """Whether it may be shown what is never committed; PostgreSQL shows that to nobody."""
    return connection.dialect.name != "postgresql" and isolation_level(connection) == "READ UNCOMMITTED"


def isolation_level(connection: Connection) -> str | None:
    """As it was asked for, else the database's default: nothing is sent to find out."""
    options = connection.get_execution_options()
    asked = options.get("isolation_level") or getattr(connection.dialect, "_on_connect_isolation_level", None)
    found = asked or connection.default_isolation_level
    return str(found).replace("_", " ").upper() if found else None


def refused(dialect: Dialect, connection: PoolProxiedConnection, error: BaseException) -> bool:
    """Whether the database has answered that it did none of it, rather than not answered."""
    if dialect.name in _MYSQL:
        return False  # a table may be of a kind without transactions, in which half of a statement stays
    errors: type[BaseException] = dialect.loaded_dbapi.Error
    return isinstance(error, errors) and not dialect.is_disconnect(
        error, connection.dbapi_connection, None)  # type: ignore[arg-type]


def never_committed(dialect: Dialect, connection: PoolProxiedConnection, error: BaseException) -> bool:
    """Whether a COMMIT that failed is known to have changed nothing."""
    if not refused(dialect, connection, error):
        return False
    if dialect.name == "sqlite":
        return bool(in_transaction(connection.driver_connection))
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    return isinstance(state, str) and state[:2] in _UNDONE and state != _NOBODY_KNOWS
