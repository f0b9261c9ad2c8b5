"""What the API says and hears."""

from dataclasses import dataclass
from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field


class StarOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str
    constellation: str
    hour: float = Field(description="right ascension, in hours")
    declination: float = Field(description="in degrees")
    magnitude: float = Field(description="apparent; smaller is brighter")
    distance: float = Field(description="in light years")
    spectrum: str
    nickname: str


class StarChange(BaseModel):
    nickname: str = Field(max_length=60, description="what people call it", examples=["The dog star"])


@dataclass(frozen=True, slots=True)
class Watched:
    """How much a constellation was watched; ``brightest`` is a magnitude, so the smallest."""

    constellation: str
    observations: int
    nights: int
    observers: int
    brightest: float


@dataclass(frozen=True, slots=True)
class Statistics:
    """Constellations, the most watched first; ``took`` is in seconds."""

    constellations: list[Watched]
    observations: int
    took: float
    counted_at: datetime
