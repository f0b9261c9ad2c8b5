"""The one function of this package: by statements, or by tags given by hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, Protocol, TypeAlias, cast

from sqlalchemy import MetaData, Table

from cachefence_web.cache import AsyncCacheFence, CacheFence
from cachefence_web.core.policy import seconds
from cachefence_web.errors import ConfigurationError
from cachefence_web.following.declaring import routines_in, space_in, tables_in
from cachefence_web.sql import Routine
from cachefence_web.sqlalchemy.automatic import Automatic
from cachefence_web.sqlalchemy.databases import Declared
from cachefence_web.sqlalchemy.following import RowFollowing
from cachefence_web.sqlalchemy.outbox import check_outbox
from cachefence_web.sqlalchemy.rows import ModelTags, RowRule
from cachefence_web.sqlalchemy.sessions import Sessions, governing

Models: TypeAlias = Any
"""MetaData, or what has it as its `metadata`: a declarative base, SQLModel, Flask-SQLAlchemy's `db`."""


class Following(Protocol):
    """What `invalidate_on_commit` has set up."""

    def remove(self) -> None:
        """Follow no longer; what was committed before is invalidated already."""


def invalidate_on_commit(
    sessions: Sessions,
    fence: CacheFence | AsyncCacheFence,
    models: Mapping[type[Any], ModelTags] | None = None,
    *,
    metadata: Models | Iterable[Models] | None = None,
    views: Mapping[str, Iterable[str]] | None = None,
    triggers: Mapping[str, Iterable[str]] | None = None,
    routines: Mapping[str, Routine] | None = None,
    space: str = "",
    max_lag: float | timedelta | None = None,
    outbox: Table | None = None,
) -> Following:
    """From now on what is computed depends on the rows it reads, and a commit invalidates the rows it has written.

    Without `models` every statement of the databases counts, of whatever session or connection, ORM, Core or text: a
    cached view, value or fragment that runs a SELECT needs no tags. A fence over all that a transaction has written
    goes up right before its COMMIT, and comes down right after it. Once it has written, the caller of a transaction
    computes for itself. Not seen: a driver's own cursors and COPY, what other programs write, what triggers and
    routines write unless they are declared, and objects that a session has loaded before: `depends_on` names those.

    With `models` rows invalidate tags of your own instead (call it twice to have both): those that a flush inserts,
    updates or deletes what their functions and templates say of them; a template speaks of the old values too. A
    statement (`session.execute(update(Post)...)`, ORM or Core) does not tell its rows: it invalidates the model's
    plain tags, so let every entry that it may touch carry one; for a model that has none it invalidates everything,
    and says so in the log. Functions are called within the flush: what they raise ends it, with nothing committed. Not
    seen are textual SQL, a statement in a CTE of another or given to a connection, the legacy `bulk_*` methods,
    cascades done by the database, and the commit of a connection whose transaction the session was only made to join.

    sessions: an engine, a sessionmaker, a scoped session, Flask-SQLAlchemy's `db`, a session class or session, or the
        same for asyncio. Sessions that exist already are followed as well. An engine that is known by its sessions only
        (a class, a maker without `bind`) is followed from the first transaction of one of them.
    models: for each its tags; those of a base class hold for its subclasses too.
    metadata: whose tables tell keys and ON DELETE, ON UPDATE; what is not given is learned from the statements made of
        it, so give it where texts alone write.
    views: for each database view the tables beneath it. triggers: for each table those that its triggers write.
        routines: what functions and procedures read and write.
    space: put before every tag, for a database that shares no rows with others: "archive.".
    max_lag: the database is a replica, and that many seconds behind at most.
    outbox: what `outbox_table(metadata)` has made, for a cache with on_outage="outbox": a transaction that its store
        cannot be told to expect writes a row there before its COMMIT, from which the store is told when it is back, by
        this or any other process. Flask: within the application's context, for only then is it looked into before
        the first page is read. Two-phase commits, autocommit and databases in memory leave it to the process's
        journal.

    Raises:
        ConfigurationError: now, for a class that is no model, tags that cannot be, and a database whose statements are
            not understood; nothing is followed then.
        StoreUnavailable: if the cache's on_outage is "refuse" or "raise", from a commit that it could not be told to
            expect: the transaction is rolled back. With `models`, if it is "raise", after the commit: the rows are
            committed by then, and what they made untrue may be served until it expires.
    """
    if not isinstance(cast("object", fence), CacheFence | AsyncCacheFence):
        raise ConfigurationError(f"fence is a CacheFence or an AsyncCacheFence, not {fence!r:.60}")
    if models is None:
        lag = seconds("max_lag", max_lag) if max_lag is not None else None
        return Automatic(sessions, fence, Declared(
            _metadata(metadata), tables_in("views", views or {}), tables_in("triggers", triggers or {}),
            routines_in("routines", routines or {}), space_in("space", space), lag, check_outbox(outbox)))
    if outbox is not None:
        raise ConfigurationError("outbox goes without models: their tags are told after the commit, by no row in it")
    if not isinstance(cast("object", models), Mapping) or not models:
        raise ConfigurationError(f"models is a dict such as {{Post: ['post:{{id}}', 'post']}}, not {models!r:.60}")
    governs = governing(sessions)
    return RowFollowing(fence, governs, [RowRule(model, tags) for model, tags in models.items()])


def _metadata(given: Any) -> tuple[MetaData, ...]:
    found = given if isinstance(given, MetaData) else getattr(given, "metadata", given)
    if found is None:
        return ()
    if isinstance(found, MetaData):
        return (found,)
    if isinstance(found, str) or not isinstance(found, Iterable):
        raise ConfigurationError(
            f"metadata is a MetaData or what has one, such as a declarative base; not {given!r:.60}")
    return tuple([each for part in found for each in _metadata(part)])
