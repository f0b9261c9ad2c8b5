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
from cachefence_web.sqlalchemy.transactions import Work

if TYPE_CHECKING:
    from cachefence_web.sqlalchemy.databases import Database

Execute: TypeAlias = Callable[..., None]
"""As a dialect's `do_execute`: it is given the cursor, the text, the parameters and the context."""

_BEGUN, _SEEN = "_cachefence_web_begun", "_cachefence_web_seen"
"""What a context remembers of the statement at hand: what was done before it, and that something was done after it."""


def open_door(database: Database) -> None:
    """Let nothing be executed unseen; `Database.unwrap` ends it."""
    dialect: Any = database.dialect
    bare = dialect.do_execute_no_params
    without = _through(database, lambda cursor, statement, _, context: bare(cursor, statement, context))

    @wraps(bare)
    def do_execute_no_params(cursor: Any, statement: str, context: ExecutionContext | None = None) -> None:
        without(cursor, statement, (), context)

    def begin(cursor: Any, statement: str, parameters: Any, context: ExecutionContext | None) -> None:
        """Whoever listens as well may execute the statement himself, and end it in any way."""
        del cursor
        if context is not None and database.caches:
            context.__dict__.pop(_SEEN, None)
            context.__dict__[_BEGUN] = statement, parameters, _before(database, statement, parameters, context)

    def begin_without(cursor: Any, statement: str, context: ExecutionContext | None) -> None:
        begin(cursor, statement, (), context)

    database.wrap("do_execute", _through(database, dialect.do_execute))
    database.wrap("do_executemany", _through(database, dialect.do_executemany))
    database.wrap("do_execute_no_params", do_execute_no_params)
    database.wrap("execution_ctx_cls", _context_class(database, dialect.execution_ctx_cls))
    database.listen("do_execute", begin)
    database.listen("do_executemany", begin)
    database.listen("do_execute_no_params", begin_without)


def _before(database: Database, text: str, parameters: Any, context: ExecutionContext) -> Work | None:
    connection = context.root_connection
    if database.looks:
        database.look_into(connection.engine)
    return statements.before(database, connection, text, parameters, context)


def _through(database: Database, execute: Execute) -> Execute:
    """The same, through the door."""

    @wraps(execute)
    def through(cursor: Any, statement: str, parameters: Any, context: ExecutionContext | None = None) -> None:
        if context is None or not database.caches:
            execute(cursor, statement, parameters, context)
            return
        begun = context.__dict__.pop(_BEGUN, None)
        if begun is not None and begun[0] is statement and begun[1] is parameters:
            work = begun[2]
        else:
            work = _before(database, statement, parameters, context)
        context.__dict__[_SEEN] = True
        execute(cursor, statement, parameters, context)
        if work is not None:
            statements.after(database, context.root_connection, work, cursor, statement, parameters, context)

    return through


def _context_class(database: Database, of_dialect: Any) -> type[Any]:
    """Contexts that notice what was executed past the dialect's methods, as a listener to its events may do."""
    results = of_dialect._setup_result_proxy
    executed = _through(database, lambda *_: None)

    def _setup_result_proxy(context: Any) -> Any:
        if _SEEN not in context.__dict__:
            if (begun := context.__dict__.get(_BEGUN)) is not None:
                statement, parameters, _ = begun
            else:
                statement = context.statement
                parameters = context.parameters if context.executemany else context.parameters[0]
            executed(context.cursor, statement, parameters, context)
        return results(context)

    return type(of_dialect.__name__, (of_dialect,), {"_setup_result_proxy": _setup_result_proxy})
