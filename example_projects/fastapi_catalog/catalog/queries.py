"""The slow question: an honest aggregation over every observation, and a log of each time it was asked."""

import os
from datetime import UTC, datetime
from time import perf_counter

from sqlalchemy import func, select

from .models import Observation, Star
from .resources import Session
from .schemas import Statistics, Watched


async def load_statistics(session: Session) -> Statistics:
    """How much each constellation was watched, the most watched first."""
    observations = func.count().label("observations")
    query = (
        select(
            Star.constellation,
            observations,
            func.count(Observation.night.distinct()).label("nights"),
            func.count(Observation.observer.distinct()).label("observers"),
            func.min(Observation.magnitude).label("brightest"),
        )
        .join(Observation, Observation.star_id == Star.id)
        .group_by(Star.constellation)
        .order_by(observations.desc(), Star.constellation)
    )
    _log("statistics")
    started = perf_counter()
    watched = [Watched(*row) for row in await session.execute(query)]
    return Statistics(
        constellations=watched,
        observations=sum(each.observations for each in watched),
        took=perf_counter() - started,
        counted_at=datetime.now(UTC),
    )


async def load_light_curve(session: Session, star_id: int) -> list[float]:
    """The star's mean magnitude over each twenty nights, the oldest first."""
    span = Observation.night // 20
    means = select(func.avg(Observation.magnitude)).where(Observation.star_id == star_id)
    return list(await session.scalars(means.group_by(span).order_by(span)))


def _log(question: str) -> None:
    """Append the question to the file that QUERY_LOG names; O_APPEND keeps many processes' lines whole."""
    path = os.environ.get("QUERY_LOG")
    if path:
        log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(log, f"{question}\n".encode())
        finally:
            os.close(log)
