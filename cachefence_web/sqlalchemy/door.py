"""The door of a database: whatever SQLAlchemy executes goes through the dialect, and so through here.

As with commits the methods of the dialect *instance* are wrapped. The events of an engine tell as much, but as soon as
anybody listens to one of them, SQLAlchemy prepares each statement for all of them, which costs more than what is done
here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

from sqlalchemy.engine.interfaces import ExecutionContext

from cachefence_web.sqlalchemy import statements

if TYPE_CHECKING:
    from cachefence_web.sqlalchemy.databases import Database

_SEEN = "_cachefence_web_seen"


def open_door(database: Database) -> None:
    """Let nothing be executed unseen; `Database.unwrap` ends it."""
    dialect: Any = database.dialect
    one, many, bare = dialect.do_execute, dialect.do_executemany, dialect.do_execute_no_params

    @wraps(one)
    def do_execute(cursor: Any, statement: str, parameters: Any, context: ExecutionContext | None = None) -> None:
        _execute(database, cursor, statement, parameters, context, one)

    @wraps(many)
    def do_executemany(cursor: Any, statement: str, parameters: Any, context: ExecutionContext | None = None) -> None:
        _execute(database, cursor, statement, parameters, context, many)

    def without(cursor: Any, statement: str, _: Any, context: ExecutionContext | None) -> None:
        bare(cursor, statement, context)

    @wraps(bare)
    def do_execute_no_params(cursor: Any, statement: str, context: ExecutionContext | None = None) -> None:
        _execute(database, cursor, statement, (), context, without)

    for method in (do_execute, do_executemany, do_execute_no_params):
        database.wrap(method.__name__, method)
    database.wrap("execution_ctx_cls", _context_class(database, dialect.execution_ctx_cls))


def _execute(
    database: Database, cursor: Any, text: str, parameters: Any, context: ExecutionContext | None,
    execute: Callable[..., None],
) -> None:
    if context is None or not database.caches:
        execute(cursor, text, parameters, context)
        return
    connection = context.root_connection
    if database.looks:
        database.look_into(connection.engine)
    context.__dict__[_SEEN] = True
    work = statements.before(database, connection, text, parameters, context)
    execute(cursor, text, parameters, context)
    if work is not None:
        statements.after(database, connection, work, cursor, text, parameters, context)


def _context_class(database: Database, of_dialect: Any) -> type[Any]:
    """Contexts that notice what was executed past the dialect's methods, as a listener to its events may do."""
    results = of_dialect._setup_result_proxy

    def _setup_result_proxy(context: Any) -> Any:
        if _SEEN not in context.__dict__:
            parameters = context.parameters if context.executemany else context.parameters[0]
            _execute(database, context.cursor, context.statement, parameters, context, lambda *_: None)
        return results(context)

    return type(of_dialect.__name__, (of_dialect,), {"_setup_result_proxy": _setup_result_proxy})
