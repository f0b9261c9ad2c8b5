"""HTTP-date as RFC 9110 section 5.6.7 writes it: three forms are read, anything else is no date."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

_DAYS = b"Mon Tue Wed Thu Fri Sat Sun".split()
_MONTHS = b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
_MONTH_OF = {name: number for number, name in enumerate(_MONTHS, 1)}

_DAY = b"(?:" + b"|".join(_DAYS) + b")"
_LONG_DAY = rb"(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day"
_MONTH = rb"(?P<month>[A-Z][a-z]{2})"
_TIME = rb"(?P<hour>\d{2}):(?P<minute>\d{2}):(?P<second>\d{2})"

_IMF_FIXDATE = re.compile(_DAY + rb", (?P<day>\d{2}) " + _MONTH + rb" (?P<year>\d{4}) " + _TIME + b" GMT")
_RFC_850 = re.compile(_LONG_DAY + rb", (?P<day>\d{2})-" + _MONTH + rb"-(?P<year>\d{2}) " + _TIME + b" GMT")
_ASCTIME = re.compile(_DAY + b" " + _MONTH + rb" (?P<day>\d{2}| \d) " + _TIME + rb" (?P<year>\d{4})")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_SECOND = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // timedelta(seconds=1)
_FAR_YEARS = 50


def parse_date(value: bytes, *, now: float) -> float | None:
    """The Unix seconds of an HTTP-date, or None for what is none; names are case-sensitive.

    The day of the week is not compared with the date. A leap second is the second after it.

    now: Unix seconds; an RFC 850 year that would be more than 50 years ahead of it is in the past.
    """
    value = value.strip(b" \t")
    if match := _IMF_FIXDATE.fullmatch(value) or _ASCTIME.fullmatch(value):
        return _seconds(match, int(match["year"]))
    if match := _RFC_850.fullmatch(value):
        return _seconds(match, _full_year(match, now))
    return None


def _at(seconds: float) -> datetime:
    return _EPOCH + timedelta(seconds=int(max(0, min(seconds, _LAST_SECOND))))


def _seconds(match: re.Match[bytes], year: int) -> float | None:
    hour, minute, second = int(match["hour"]), int(match["minute"]), int(match["second"])
    if match["month"] not in _MONTH_OF or hour > 23 or minute > 59 or second > 60:
        return None
    try:
        day = date(year, _MONTH_OF[match["month"]], int(match["day"]))
    except ValueError:
        return None
    return float((day.toordinal() - _EPOCH.toordinal()) * 86_400 + hour * 3600 + minute * 60 + second)


def _full_year(match: re.Match[bytes], now: float) -> int:
    """The latest year with these two digits in which the date is no more than 50 years ahead."""
    today = _at(now)
    day_and_time = [int(match[part]) for part in ("day", "hour", "minute", "second")]
    of_the_year = (_MONTH_OF.get(match["month"], 0), *day_and_time)
    farthest = (today.month, today.day, today.hour, today.minute, today.second)
    last = today.year + _FAR_YEARS
    year = last - (last - int(match["year"])) % 100
    return year - 100 if year == last and of_the_year > farthest else year
