"""The door of a database: whatever SQLAlchemy executes goes through the dialect, and so through here.

As with commits the methods of the dialect *instance* are wrapped. The events of an engine tell as much, but as soon as
anybody listens to one of them, SQLAlchemy prepares each statement for all of them, which costs more than what is done
here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy.engine.interfaces import ExecutionContext

from cachefence_web.sqlalchemy import statements

if TYPE_CHECKING:
    from cachefence_web.sqlalchemy.databases import Database

Execute: TypeAlias = Callable[..., None]
"""As a dialect's `do_execute`: it is given the cursor, the text, the parameters and the context."""

_SEEN = "_cachefence_web_seen"


def open_door(database: Database) -> None:
    """Let nothing be executed unseen; `Database.unwrap` ends it."""
    dialect: Any = database.dialect
    bare = dialect.do_execute_no_params
    without = _through(database, lambda cursor, statement, _, context: bare(cursor, statement, context))

    @wraps(bare)
    def do_execute_no_params(cursor: Any, statement: str, context: ExecutionContext | None = None) -> None:
        without(cursor, statement, (), context)

    database.wrap("do_execute", _through(database, dialect.do_execute))
    database.wrap("do_executemany", _through(database, dialect.do_executemany))
    database.wrap("do_execute_no_params", do_execute_no_params)
    database.wrap("execution_ctx_cls", _context_class(database, dialect.execution_ctx_cls))


def _through(database: Database, execute: Execute) -> Execute:
    """The same, through the door."""

    @wraps(execute)
    def through(cursor: Any, statement: str, parameters: Any, context: ExecutionContext | None = None) -> None:
        if context is None or not database.caches:
            execute(cursor, statement, parameters, context)
            return
        connection = context.root_connection
        if database.looks:
            database.look_into(connection.engine)
        context.__dict__[_SEEN] = True
        work = statements.before(database, connection, statement, parameters, context)
        execute(cursor, statement, parameters, context)
        if work is not None:
            statements.after(database, connection, work, cursor, statement, parameters, context)

    return through


def _context_class(database: Database, of_dialect: Any) -> type[Any]:
    """Contexts that notice what was executed past the dialect's methods, as a listener to its events may do."""
    results = of_dialect._setup_result_proxy
    executed = _through(database, lambda *_: None)

    def _setup_result_proxy(context: Any) -> Any:
        if _SEEN not in context.__dict__:
            executed(context.cursor, context.statement,
                     context.parameters if context.executemany else context.parameters[0], context)
        return results(context)

    return type(of_dialect.__name__, (of_dialect,), {"_setup_result_proxy": _setup_result_proxy})
