"""Stars, and every night somebody wrote down how bright one was."""

from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


class Star(Base):
    """A star; ``hour`` is its right ascension, ``declination`` in degrees, ``distance`` in light years."""

    __tablename__ = "star"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    constellation: Mapped[str]
    hour: Mapped[float]
    declination: Mapped[float]
    magnitude: Mapped[float]
    distance: Mapped[float]
    spectrum: Mapped[str]
    nickname: Mapped[str]


class Observation(Base):
    __tablename__ = "observation"

    id: Mapped[int] = mapped_column(primary_key=True)
    star_id: Mapped[int] = mapped_column(ForeignKey(Star.id), index=True)
    night: Mapped[int]
    observer: Mapped[int]
    magnitude: Mapped[float]
