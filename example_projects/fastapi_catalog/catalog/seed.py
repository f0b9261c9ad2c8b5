"""Fill an empty catalogue: the same stars, nights and observers on every machine."""

import csv
from math import sin, tau
from pathlib import Path
from random import Random

from sqlalchemy import insert, select, text

from .models import Base, Observation, Star
from .resources import Sessions, engine

STARS = Path(__file__).with_name("stars.csv")
OBSERVATIONS, OBSERVERS, NIGHTS = 90_000, 600, 1_460
# How far, in magnitudes, and how slowly, in nights, the restless ones swing.
SWINGS = {"Betelgeuse": (0.5, 420), "Algol": (0.6, 160), "Antares": (0.4, 600), "Sheliak": (0.5, 260)}


async def seed() -> None:
    async with engine.connect() as connection:
        await connection.execute(text("PRAGMA journal_mode=WAL"))
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with Sessions() as session:
        if await session.scalar(select(Star.id).limit(1)):
            return
        print(f"Seeding {OBSERVATIONS:,} observations ...")
        with STARS.open(newline="", encoding="utf-8") as rows:
            stars = [read_star(row) for row in csv.DictReader(rows)]
        session.add_all(stars)
        await session.flush()
        await session.execute(insert(Observation), observations_of(stars, Random(1610)))
        await session.commit()


def read_star(row: dict[str, str]) -> Star:
    measured = {field: float(row.pop(field)) for field in ("hour", "declination", "magnitude", "distance")}
    return Star(**row, **measured)


def observations_of(stars: list[Star], chance: Random) -> list[dict[str, float]]:
    """Invent observations: bright stars are watched most, some of them swing, and no eye is perfect."""
    watched = chance.choices(stars, [5 - star.magnitude for star in stars], k=OBSERVATIONS)
    return [observe(star, chance.randrange(NIGHTS), chance) for star in watched]


def observe(star: Star, night: int, chance: Random) -> dict[str, float]:
    swing, period = SWINGS.get(star.name, (0.05, 1_000))
    seen = star.magnitude + swing * sin(tau * night / period) + chance.gauss(0, 0.12)
    observer = chance.randrange(OBSERVERS)
    return {"star_id": star.id, "night": night, "observer": observer, "magnitude": round(seen, 2)}
