"""Tests of our own in the public suite's form: what its release does not ask, or asks so that no cache can pass.

Targeted fields (RFC 9213), stale-while-revalidate (RFC 5861), must-understand (RFC 9111, 5.2.2.3), what forbids to
serve stale (RFC 9111, 4.2.4) and early hints (RFC 8297). They count apart from the suite's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tests.conformance.kinds import Kind

FIELD = "CDN-Cache-Control"
LONG_AGO, LONG = -10_000, 10_000
"""Seconds from now: such numbers in a date field stand for a date."""

Lines = tuple[tuple[str, str | int], ...]


@dataclass(frozen=True, slots=True)
class Targeted:
    """A response with a targeted field, after three seconds asked for again; reused: whether from the cache."""

    id: str
    kind: Kind
    name: str
    value: str | tuple[str, ...]
    reused: bool
    beside: Lines = ()

    def test(self) -> dict[str, Any]:
        lines = (self.value,) if isinstance(self.value, str) else self.value
        # The third member says that the client need not find this line: a cache may consume what is meant for it.
        headers = [[FIELD, line, False] for line in lines] + [[*line, False] for line in self.beside]
        return _test(f"targeted-{self.id}", self.kind, self.name, [
            {"response_headers": headers, "setup": True, "pause_after": True},
            {"expected_type": "cached" if self.reused else "not_cached"},
        ])


FRESH: Lines = (("Cache-Control", "max-age=10000"),)
FORBIDDEN: Lines = (("Cache-Control", "no-store"),)

TARGETED = (
    Targeted("max-age", "optimal", "A positive max-age makes the response fresh", "max-age=3600", True),
    Targeted("max-age-largest", "optimal", "A max-age past 32 bits is fresh", "max-age=2147483648", True),
    Targeted("max-age-past-64-bits", "optimal", "The largest integer of a structured field is fresh",
             "max-age=999999999999999", True),
    Targeted("max-age-extension", "optimal", "Unknown directives are ignored", "unknown, max-age=3600, x=(1 2)", True),
    Targeted("past-expires", "optimal", "max-age wins over an Expires that is past", "max-age=3600", True,
             (("Date", 0), ("Expires", LONG_AGO))),
    Targeted("invalid-expires", "optimal", "max-age wins over an Expires that is no date", "max-age=3600", True,
             (("Date", 0), ("Expires", "never"))),
    Targeted("longer-than-max-age", "optimal", "A long targeted max-age wins over a short one in Cache-Control",
             "max-age=3600", True, (("Cache-Control", "max-age=1"),)),
    Targeted("parameters", "optimal", "Parameters of a directive are ignored", 'max-age=3600;for="you"', True),
    Targeted("two-lines", "optimal", "The lines of the field are one dictionary", ("max-age=3600", "unknown"), True),
    Targeted("shorter-than-max-age", "required", "A short targeted max-age wins over a long one in Cache-Control",
             "max-age=1", False, FRESH),
    Targeted("max-age-0", "required", "max-age=0 is stale at once", "max-age=0", False, FRESH),
    Targeted("max-age-0-expires", "required", "Expires counts for nothing beside a targeted max-age",
             "max-age=0", False, (("Date", 0), ("Expires", LONG))),
    Targeted("age", "required", "Age counts against a targeted max-age", "max-age=3600", False,
             (("Date", 0), ("Age", "7200"))),
    Targeted("private", "required", "private forbids a shared cache to store", "private", False, FRESH),
    Targeted("no-cache", "required", "no-cache forbids reuse without validation", "no-cache", False, FRESH),
    Targeted("no-store", "required", "no-store forbids to store", "no-store", False, FRESH),
    Targeted("over-no-store", "required", "A valid field replaces Cache-Control, even its no-store",
             "max-age=3600", True, FORBIDDEN),
    Targeted("unparsable", "required", "A field that does not parse is ignored as a whole", "max-age=3600, &&&", False,
             FORBIDDEN),
    Targeted("unparsable-beside-fresh", "required", "... and leaves Cache-Control in force", "no-store, &&&", True,
             FRESH),
    Targeted("upper-case", "required", "Keys of a structured field are lower case, else it does not parse",
             "MAX-AGE=3600", False, FORBIDDEN),
    Targeted("space-before-equals", "required", "A space before the equals sign does not parse", "max-age =3600", False,
             FORBIDDEN),
    Targeted("empty", "required", "An empty field is ignored", "", True, FRESH),
    Targeted("string", "required", "A max-age that is a string is no max-age", 'max-age="3600"', False, FORBIDDEN),
    Targeted("decimal", "required", "A max-age that is a decimal is no max-age", "max-age=3600.5", False, FORBIDDEN),
    Targeted("last-wins", "required", "Of one key given twice the last counts", "max-age=3600, max-age=0", False),
    Targeted("last-line-wins", "required", "... across lines as well", ("max-age=3600", "max-age=0"), False),
)

LINK = ["link", "</style.css>; rel=preload; as=style"]
HINTS = [[103, [LINK]]]


def stale() -> list[dict[str, Any]]:
    """What may be served stale, and until when."""
    window = "max-age=1, stale-while-revalidate="
    return [
        _test("stale-while-revalidate", "optimal", "A stale response is served while it is revalidated", [
            {"response_headers": [["Cache-Control", f"{window}3600"], ["ETag", '"1"']], "setup": True,
             "pause_after": True},
            {"expected_type": "cached"},
        ]),
        _test("stale-while-revalidate-over", "required", "... but not after the time that was given for it", [
            {"response_headers": [["Cache-Control", f"{window}1"], ["ETag", '"1"']], "setup": True,
             "pause_after": True},
            {"expected_type": "not_cached"},
        ]),
        *[_prohibited(directive) for directive in ("must-revalidate", "proxy-revalidate", "no-cache", "s-maxage=2")],
    ]


def _prohibited(directive: str) -> dict[str, Any]:
    """With an origin that breaks down the answer is an error, which never was the origin's: it has no count."""
    return _test(f"stale-prohibited-by-{directive}", "required", f"{directive} forbids to serve stale on failure", [
        {"response_headers": [["Cache-Control", f"max-age=2, {directive}"]], "setup": True, "pause_after": True},
        {"disconnect": True, "expected_status": 500, "check_body": False,
         "expected_response_headers_missing": ["server-request-count"]},
    ])


def understood() -> list[dict[str, Any]]:
    """must-understand lifts no-store for a cache that knows the status code."""
    headers = [["Cache-Control", "max-age=3600, no-store, must-understand"]]
    return [
        _test("must-understand-known", "optimal", "A response of a known status is stored in spite of no-store", [
            {"response_headers": headers, "setup": True}, {"expected_type": "cached"}]),
        _test("must-understand-unknown", "required", "A response of an unknown status is not stored", [
            {"response_headers": headers, "response_status": [599, "Whatever"], "setup": True},
            {"expected_type": "not_cached"}]),
    ]


def interim() -> list[dict[str, Any]]:
    """What comes before the final response."""
    final = [["Cache-Control", "max-age=3600"]]
    first = {"interim_responses": HINTS, "expected_interim_responses": HINTS, "response_headers": final}
    return [
        _test("interim-early-hints", "optimal", "Early hints pass through, and the final response is stored", [
            first, {"expected_type": "cached"}]),
        _test("interim-early-hints-unmixed", "required", "Their fields are not stored with the final response", [
            {**first, "setup": True},
            {"expected_type": "cached", "expected_response_headers_missing": ["link"]}]),
    ]


def suites() -> list[dict[str, Any]]:
    """All of them, for the suite's client to run."""
    return [
        _suite("extra-targeted", "Targeted cache control", (row.test() for row in TARGETED)),
        _suite("extra-stale", "Serving stale", stale()),
        _suite("extra-understood", "must-understand", understood()),
        _suite("extra-interim", "Interim responses", interim()),
    ]


def _test(name: str, kind: Kind, title: str, requests: list[dict[str, Any]]) -> dict[str, Any]:
    return {"id": name, "kind": kind, "name": title, "requests": requests}


def _suite(name: str, title: str, tests: Iterable[dict[str, Any]]) -> dict[str, Any]:
    return {"id": name, "name": title, "description": title, "tests": list(tests)}
