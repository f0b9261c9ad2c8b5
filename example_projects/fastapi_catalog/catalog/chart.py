"""The sky as a flat picture: where each star and each line of a constellation is drawn."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from .models import Star

WIDTH, HEIGHT = 1200, 600
# The picture is cut open where no constellation is in the way.
SEAM_HOUR = 9.05
# From the hottest to the coolest.
SPECTRA = "OBAFGKM"
COLOURS = ("#9db4ff", "#aabfff", "#dce5ff", "#fbf8ff", "#fff1d6", "#ffd2a1", "#ffab7a")
FIGURES = (
    "Betelgeuse Bellatrix Mintaka Alnilam Alnitak Betelgeuse",
    "Mintaka Rigel Saiph Alnitak",
    "Mirzam Sirius Wezen Adhara",
    "Wezen Aludra",
    "Procyon Gomeisa",
    "Alcyone Aldebaran Elnath Hassaleh Capella Menkalinan Mahasim Elnath",
    "Alhena Pollux Castor Mebsuta Tejat",
    "Regulus Algieba Zosma Denebola Chertan Regulus",
    "Zosma Chertan",
    "Alkaid Mizar Alioth Megrez Dubhe Merak Phecda Megrez",
    "Kochab Pherkad",
    "Caph Schedar Navi Ruchbah Segin",
    "Mirfak Algol",
    "Almach Mirach Alpheratz Scheat Markab Algenib Alpheratz",
    "Markab Enif",
    "Deneb Sadr Albireo",
    "Fawaris Sadr Aljanah",
    "Vega Sheliak Sulafat Vega",
    "Tarazed Altair Alshain",
    "Muphrid Arcturus Izar",
    "Arcturus Seginus",
    "Spica Porrima Vindemiatrix",
    "Acrab Dschubba Antares Larawag Sargas Shaula",
    "Kaus_Australis Kaus_Media Kaus_Borealis Nunki Ascella Kaus_Australis",
    "Acrux Gacrux",
    "Mimosa Imai",
    "Rigil_Kentaurus Hadar",
    "Alnair Tiaki",
    "Sadalsuud Sadalmelik",
)


@dataclass(frozen=True, slots=True)
class Point:
    """A star in the picture; lengths are in the units of its view box."""

    star: Star
    x: float
    y: float
    radius: float
    colour: str


@dataclass(frozen=True, slots=True)
class Chart:
    points: list[Point]
    lines: list[tuple[Point, Point]]
    named: list[Point]


def draw(stars: Iterable[Star]) -> Chart:
    points = {star.name: place(star) for star in stars}
    chains = ([points[name.replace("_", " ")] for name in figure.split()] for figure in FIGURES)
    lines = [line for chain in chains for line in pairwise(chain)]
    bright = [point for point in points.values() if point.star.magnitude < 1.3]
    return Chart(list(points.values()), lines, named=legible(bright))


def legible(points: list[Point]) -> list[Point]:
    """Those whose names can stand in the picture without running into the name of a brighter one."""
    named: list[Point] = []
    for point in sorted(points, key=lambda point: point.star.magnitude):
        if not any(collide(point, other) for other in named):
            named.append(point)
    return named


def collide(one: Point, other: Point) -> bool:
    left, right = sorted((one, other), key=lambda point: point.x)
    return right.x - left.x < 16 + 6.2 * len(left.star.name) and abs(right.y - left.y) < 16


def place(star: Star) -> Point:
    """East is left, as when one lies on one's back and looks up."""
    return Point(
        star,
        x=round((SEAM_HOUR - star.hour) % 24 / 24 * WIDTH, 1),
        y=round((90 - star.declination) / 180 * HEIGHT, 1),
        radius=round(max(1.3, 4.6 - 1.05 * star.magnitude), 2),
        colour=COLOURS[SPECTRA.index(star.spectrum)],
    )


def curve(magnitudes: list[float]) -> str:
    """The points of a polyline in a box of 600 by 120; the brighter, the higher."""
    low, high = min(magnitudes), max(magnitudes)
    step, scale = 600 / max(1, len(magnitudes) - 1), 100 / max(0.2, high - low)
    heights = (10 + (magnitude - low) * scale for magnitude in magnitudes)
    return " ".join(f"{index * step:.1f},{height:.1f}" for index, height in enumerate(heights))
