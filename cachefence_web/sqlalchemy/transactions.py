"""What is known of the transaction that is open on one connection of the driver, and whose it is."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import ReferenceType, ref

from sqlalchemy import Connection

from cachefence_web.following import Touched
from cachefence_web.sql import Statement
from cachefence_web.stores.memory import now_in_microseconds

if TYPE_CHECKING:
    from cachefence_web.sqlalchemy.commits import Under

_KEY = "cachefence_web"


@dataclass(slots=True, eq=False)
class Work:
    """The transaction that is open now.

    driver: the driver's own connection.
    touched: what it has written.
    told: what was told already, as of a session in a test whose commit is a savepoint's release.
    began: when its first statement was sent, on this machine's monotonic clock.
    snapshot: it reads a snapshot, and so do, if `snapshots`, all that come after it on the connection; None: it was
        not asked yet.
    dirty: it may read what others never commit; asked for along with `snapshot`.
    reading: when each cursor was executed that holds a snapshot for as long as it is open, in SQLite.
    committing: its COMMIT is on its way: statements are the driver's own.
    under: the fence around the statement that is under way, if it commits.
    seen: that statement; None: it only reads, and nobody asks what.
    many: whether it is executed for several sets of parameters.
    """

    driver: Any
    touched: Touched = field(default_factory=Touched)
    told: Touched = field(default_factory=Touched)
    began: int | None = None
    snapshot: bool | None = None
    snapshots: bool = False
    dirty: bool = False
    reading: dict[int, int] = field(default_factory=dict)
    committing: bool = False
    under: Under | None = None
    seen: Statement | None = None
    many: bool = False

    def wrote(self, tags: tuple[str, ...], connection: Connection) -> None:
        """It has made these untrue; from now on whoever called reads its own writes."""
        if tags:
            self.touched.add(tags)
            holder, mine = ref(connection), _writers.get()
            if (self, holder) not in mine:
                _writers.set((*[(work, held) for work, held in mine if work.is_open(held)], (self, holder)))

    def is_open(self, holder: ReferenceType[Connection]) -> bool:
        """Whether what was written on that connection is neither committed nor rolled back; in the pool, another may
        have the driver's by now.
        """
        connection = holder()
        return (bool(self.touched) and connection is not None and not connection.closed
                and not connection.invalidated and connection.in_transaction() and work_of(connection) is self)

    def begin(self) -> None:
        """Its first statement is about to be sent."""
        self.began = now_in_microseconds()

    def read_since(self) -> int | None:
        """When the oldest cursor was executed that is not read to its end."""
        return min(self.reading.copy().values(), default=None)

    def ended(self) -> None:
        """It was committed, or rolled back."""
        self.touched.clear()
        self.told.clear()
        self.began = None
        self.snapshot = self.snapshots or None


def work_of(connection: Any) -> Work | None:
    """The work of a connection, if it has done any; of SQLAlchemy's or, in the hands of a dialect, the pool's."""
    try:
        info = getattr(connection, "info", None)
    except NotImplementedError:  # as in `begun_on`
        return None
    found = info.get(_KEY) if isinstance(info, dict) else None
    return found if isinstance(found, Work) else None


def begun_on(connection: Connection) -> Work | None:
    """The work of a connection, from now on; None on the first one of an engine, on which the dialect looks around."""
    raw = connection.connection
    try:
        info = raw.info
    except NotImplementedError:
        return None
    found: Work | None = info.get(_KEY)
    if found is None:
        found = info[_KEY] = Work(raw.driver_connection)
    return found


def within_a_writer() -> bool:
    """Whether the caller has an open transaction that has written."""
    return any(work.is_open(holder) for work, holder in _writers.get())


_writers: ContextVar[tuple[tuple[Work, ReferenceType[Connection]], ...]] = ContextVar(
    "cachefence_sqlalchemy", default=())
