"""Tags given by hand, for models: the events of rows, from a flush to the end of the outermost transaction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from sqlalchemy import Connection, Engine, event
from sqlalchemy.orm import Mapper, ORMExecuteState, Session, SessionTransaction, object_session

from cachefence_web.cache import AsyncCacheFence, CacheFence
from cachefence_web.sqlalchemy.rows import RowRule
from cachefence_web.sqlalchemy.sessions import Governs
from cachefence_web.sqlalchemy.telling import Changes, tell


class RowFollowing:
    """The hooks that `invalidate_on_commit` has set for the rows of some models."""

    def __init__(self, fence: CacheFence | AsyncCacheFence, governs: Governs, models: list[RowRule]) -> None:
        self._fence = fence
        self._governs = governs
        self._models = models
        self._hooks: list[tuple[Any, str, Callable[..., object]]] = [
            (Session, "before_flush", self._before_flush),
            (Session, "after_flush_postexec", self._after_flush),
            (Session, "do_orm_execute", self._on_statement),
            (Session, "before_commit", self._before_commit),
            (Session, "after_commit", self._after_commit),
            (Session, "after_transaction_end", self._after_transaction_end),
        ]
        for model in models:
            self._hooks += [
                (model.mapper.class_, "before_insert", self._on_row),
                (model.mapper.class_, "before_update", self._before_update),
                (model.mapper.class_, "before_delete", self._before_delete),
            ]
        for target, name, hook in self._hooks:
            event.listen(target, name, hook, **({} if target is Session else {"propagate": True}))

    def remove(self) -> None:
        """Follow the sessions no longer; what was committed before is invalidated already."""
        for target, name, hook in self._hooks:
            event.remove(target, name, hook)
        self._hooks = []

    def _work_of(self, session: Session, bind: Engine | Connection) -> _Work | None:
        """What is kept for a session, if what it does with this connection is followed."""
        if not self._governs(session, bind):
            return None
        # A Flask extension that has no application here says so now, not when the rows are committed.
        assert self._fence.namespace
        work: _Work = session.info.setdefault(self, _Work())
        work.on_loop = bind.dialect.is_async
        return work

    def _on_row(self, mapper: Mapper[Any], connection: Connection, row: Any) -> _Work | None:
        del mapper
        session = object_session(row)
        work = self._work_of(session, connection) if session is not None else None
        if work is not None:
            work.rows[id(row)] = row
        return work

    def _before_update(self, mapper: Mapper[Any], connection: Connection, row: Any) -> None:
        session = object_session(row)
        if session is not None and session.is_modified(row) and (work := self._on_row(mapper, connection, row)):
            for model in self._models_of(row):
                work.changes(session).tags.update(dict.fromkeys(model.replaced(row, connection)))

    def _before_delete(self, mapper: Mapper[Any], connection: Connection, row: Any) -> None:
        del mapper
        session = object_session(row)
        if session is not None and (work := self._work_of(session, connection)):
            self._collect(work.changes(session), row)

    def _before_flush(self, session: Session, *_: object) -> None:
        if work := session.info.get(self):
            work.rows.clear()  # a flush that failed left them

    def _after_flush(self, session: Session, _: object) -> None:
        # The first moment when new rows have all their values and can load what they refer to.
        if (work := session.info.get(self)) and work.rows:
            changes = work.changes(session)
            for row in work.rows.values():
                self._collect(changes, row)
            work.rows.clear()

    def _on_statement(self, state: ORMExecuteState) -> None:
        if not (state.is_insert or state.is_update or state.is_delete):
            return
        # `select(...).from_statement(update(...))` has the statement in it.
        statement = cast("Any", getattr(state.statement, "element", state.statement))
        session, table = state.session, statement.entity_description["table"]
        touched = [model for model in self._models if model.stands_in(table)]
        if touched and _begun(session) and (work := self._work_of(session, session.get_bind(**state.bind_arguments))):
            changes = work.changes(session)
            for model in touched:
                changes.tags.update(dict.fromkeys(model.plain))
                changes.everything |= not model.plain

    def _before_commit(self, session: Session) -> None:
        if not session.in_nested_transaction():
            session.info.setdefault(self, _Work()).committing = True

    def _after_commit(self, session: Session) -> None:
        """The event comes for savepoints too: what they changed is the outer transaction's from here on."""
        if work := session.info.get(self):
            nested = session.get_nested_transaction()
            if nested is None:
                work.committed = True
            elif (changes := work.pending.pop(nested, None)) and nested.parent is not None:
                work.pending.setdefault(nested.parent, Changes()).add(changes)

    def _after_transaction_end(self, session: Session, transaction: SessionTransaction) -> None:
        """Here, not in `after_commit`: the connection is back in its pool, and the session survives what we raise."""
        work: _Work | None = session.info.get(self)
        if work is None:
            return
        changes = work.pending.pop(transaction, None)
        if transaction.parent is None:
            del session.info[self]
            # A COMMIT that failed may have been heard all the same.
            if changes is not None and work.committing:
                tell(self._fence, changes, on_loop=work.on_loop, committed=work.committed)

    def _models_of(self, row: Any) -> list[RowRule]:
        return [model for model in self._models if isinstance(row, model.mapper.class_)]

    def _collect(self, changes: Changes, row: Any) -> None:
        for model in self._models_of(row):
            changes.tags.update(dict.fromkeys(model.tags_of(row)))


def _begun(session: Session) -> bool:
    """Whether there is a transaction for a statement, which comes here before the session begins one for it."""
    if not session.in_transaction() and session.autobegin:
        session.begin()
    return session.in_transaction()  # if not, SQLAlchemy is about to refuse the statement


@dataclass(slots=True)
class _Work:
    """What is kept for a session until the end of its outermost transaction.

    rows: those inserted or updated by the flush that is under way, by identity.
    """

    on_loop: bool = False
    rows: dict[int, Any] = field(default_factory=dict)
    pending: dict[SessionTransaction, Changes] = field(default_factory=dict)
    committing: bool = False
    committed: bool = False

    def changes(self, session: Session) -> Changes:
        """Those of the innermost savepoint."""
        transaction = session.get_nested_transaction() or session.get_transaction()
        assert transaction is not None, "a session changes nothing outside of a transaction"
        return self.pending.setdefault(transaction, Changes())
