"""Range and If-Range from a complete stored response."""

from __future__ import annotations

import re
from dataclasses import replace
from email import message_from_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachefence_web.http.message import Request, Response, lines
from cachefence_web.http.ranges import ranged
from tests.http.build import answer, ask

NOW = 1_795_246_200.0
TEXT = b"0123456789"
MODIFIED = "Sun, 06 Nov 1994 08:49:37 GMT"
LONG = bytes(range(256)) * 40

STORED = answer(
    "content-type: text/plain", "content-length: 10", 'etag: "a"', "vary: accept", "x: 1", "x: 2",
    f"last-modified: {MODIFIED}", "date: Sun, 06 Nov 1994 08:49:38 GMT", "cache-control: max-age=5",
    body=TEXT,
)  # fmt: skip


def part(value: str, *headers: str, of: Response = STORED) -> Response | None:
    return ranged(ask(f"Range: {value}", *headers), of, now=NOW)


@pytest.mark.parametrize(
    ("value", "body", "span"),
    [
        ("bytes=0-3", b"0123", b"0-3"),
        ("bytes=0-0", b"0", b"0-0"),
        ("bytes=5-", b"56789", b"5-9"),
        ("bytes=5-9", b"56789", b"5-9"),
        ("bytes=5-99", b"56789", b"5-9"),
        ("bytes=-3", b"789", b"7-9"),
        ("bytes=-99", TEXT, b"0-9"),
        ("bytes=0-", TEXT, b"0-9"),
        ("bytes=9-9", b"9", b"9-9"),
        ("bytes=000000000000000000000002-00000000000000000000000003", b"23", b"2-3"),
        ("bytes=0-99999999999999999999999999999999", TEXT, b"0-9"),
        ("bytes=-" + "9" * 5000, TEXT, b"0-9"),
        ("BYTES=0-3", b"0123", b"0-3"),
        ("bytes= 0-3", b"0123", b"0-3"),
        ("bytes=,0-3,,", b"0123", b"0-3"),
        ("bytes=0-3,50-60", b"0123", b"0-3"),
        ("bytes=0-3, 2-5", b"012345", b"0-5"),
        ("bytes=0-3,4-5", b"012345", b"0-5"),
        ("bytes=4-5,0-3", b"012345", b"0-5"),
        ("bytes=0-9,2-3", TEXT, b"0-9"),
        ("bytes=-1,0-", TEXT, b"0-9"),
    ],
)
def test_one_range_is_a_206_with_its_part_of_the_body(value: str, body: bytes, span: bytes) -> None:
    response = part(value)
    assert response is not None
    assert (response.status, response.body) == (206, body)
    assert lines(response.headers, b"content-range") == [b"bytes %b/10" % span]
    assert lines(response.headers, b"content-length") == [b"%d" % len(body)]


@pytest.mark.parametrize("value", ["bytes=0-3", "bytes=0-1,5-6"])
def test_a_206_has_all_the_fields_that_are_stored(value: str) -> None:
    response = part(value)
    assert response is not None
    replaced = {b"content-length", b"content-range", b"content-type"}
    assert [line for line in response.headers if line[0] not in replaced] \
        == [line for line in STORED.headers if line[0] not in replaced]
    assert len(lines(response.headers, b"content-type")) == 1


def test_what_is_about_the_whole_content_is_not_said_of_a_part() -> None:
    digested = answer("Content-Digest: sha-256=:AA==:", "Content-MD5: x", "Repr-Digest: sha-256=:BB==:", body=TEXT)
    response = part("bytes=0-3", of=digested)
    assert response is not None
    assert [name for name, _ in response.headers] == [b"Repr-Digest", b"content-range", b"content-length"]


def test_several_ranges_are_parts_in_the_order_they_were_asked_for() -> None:
    response = part("bytes=8-,0-1, 4-5")
    assert response is not None
    assert parts_of(response) == [(b"bytes 8-9/10", b"89"), (b"bytes 0-1/10", b"01"), (b"bytes 4-5/10", b"45")]
    assert lines(response.headers, b"content-length") == [b"%d" % len(response.body)]
    assert not lines(response.headers, b"content-range")
    assert response.body.count(b"Content-Type: text/plain\r\n") == 3


def test_a_boundary_is_the_same_everywhere_and_another_for_another_body_or_range() -> None:
    other = replace(STORED, body=b"9876543210")
    asked = [("bytes=0-1,5-6", STORED), ("bytes=0-1,5-6", other), ("bytes=0-1,6-7", STORED)]
    responses = [part(value, of=stored) for value, stored in asked]
    assert part(*asked[0][:1]) == responses[0]
    assert len({lines(response.headers, b"content-type")[0] for response in responses if response}) == 3


@pytest.mark.parametrize("value", ["bytes=10-", "bytes=10-20,99-", "bytes=-0", "bytes=" + "9" * 5000 + "-"])
def test_a_range_beyond_the_end_is_a_416_that_nobody_takes_for_the_representation(value: str) -> None:
    response = part(value)
    assert response is not None
    assert (response.status, response.body) == (416, b"")
    assert sorted(response.headers) == [
        (b"content-length", b"0"), (b"content-range", b"bytes */10"), (b"date", b"Sun, 06 Nov 1994 08:49:38 GMT"),
        (b"vary", b"accept"), (b"x", b"1"), (b"x", b"2"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "value",
    [
        "",
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes=-",
        "bytes=a-b",
        "bytes=3-1",
        "bytes=0-1,3-1",
        "bytes=0-1,x",
        "bytes=0--1",
        "bytes=+0-1",
        "bytes=0 - 1",
        "bytes =0-1",
        "bytes:0-1",
        "bytes=0-1;x",
        "bytes=0x0-0x1",
        "bytes=\u0660-\u0663",
        "items=0-1",
        "seconds=1-2, bytes=0-1",
        "0-1",
    ],
)
def test_what_is_no_set_of_byte_ranges_is_ignored(value: str) -> None:
    assert ranged(Request("GET", "https", "h", b"/", b"", ((b"range", value.encode()),)), STORED, now=NOW) is None


def test_range_is_ignored_where_it_means_nothing() -> None:
    assert ranged(ask(), STORED, now=NOW) is None
    assert ranged(ask("Range: bytes=0-1", "Range: bytes=2-3"), STORED, now=NOW) is None
    for method in ("HEAD", "POST", "get"):
        assert ranged(ask("Range: bytes=0-1", method=method), STORED, now=NOW) is None
    for status in (206, 203, 404):
        assert part("bytes=0-1", of=replace(STORED, status=status)) is None


@pytest.mark.parametrize(("value", "status"), [("bytes=0-", 416), ("bytes=-0", 416), ("bytes=-5", None)])
def test_an_empty_body_has_no_first_byte_but_a_whole(value: str, status: int | None) -> None:
    response = part(value, of=replace(STORED, body=b""))
    assert (response.status if response else None) == status


@pytest.mark.parametrize(
    ("condition", "applies"),
    [
        ('"a"', True),
        (' "a" ', True),
        ('W/"a"', False),
        ('"b"', False),
        ('"a", "b"', False),
        ("a", False),
        ("*", False),
        ("", False),
        (MODIFIED, True),
        ("Sunday, 06-Nov-94 08:49:37 GMT", True),
        ("Sun, 06 Nov 1994 08:49:36 GMT", False),
        ("Sun, 06 Nov 1994 08:49:38 GMT", False),
        ("sun, 06 nov 1994 08:49:37 gmt", False),
    ],
)
def test_if_range_must_match_exactly(condition: str, applies: bool) -> None:
    response = part("bytes=0-1", f"If-Range: {condition}")
    assert (response is not None) == applies


@pytest.mark.parametrize(
    ("stored", "condition"),
    [
        (['ETag: W/"a"'], 'W/"a"'),
        (['ETag: W/"a"'], '"a"'),
        ([], '"a"'),
        (['ETag: "a"', 'ETag: "b"'], '"a"'),
        ([f"Last-Modified: {MODIFIED}", f"Date: {MODIFIED}"], MODIFIED),
        ([f"Last-Modified: {MODIFIED}"], MODIFIED),
        (["Date: Sun, 06 Nov 1994 08:50:37 GMT"], MODIFIED),
        (["Last-Modified: x", "Date: Sun, 06 Nov 1994 08:50:37 GMT"], "x"),
    ],
)
def test_if_range_needs_a_strong_validator_that_is_stored(stored: list[str], condition: str) -> None:
    assert part("bytes=0-1", f"If-Range: {condition}", of=answer(*stored)) is None


def test_if_range_is_looked_at_before_a_range_is_called_unsatisfiable() -> None:
    assert part("bytes=99-", 'If-Range: "b"') is None
    assert part("bytes=0-1", 'If-Range: "a"', 'If-Range: "a"') is None


@pytest.mark.parametrize(
    ("value", "answered"),
    [
        (",".join(f"{100 * n}-{100 * n + 70}" for n in range(20)), True),
        (",".join(f"{100 * n}-{100 * n + 70}" for n in range(21)), False),
        (",".join(f"{100 * n}-{100 * n + 5}" for n in range(10)), True),
        (",".join(f"{100 * n}-{100 * n + 5}" for n in range(11)), False),
        ("0-999,900-1999,1900-2999", True),
        ("0-999,900-1999,1900-2999,2900-3999", False),
        (",".join(["0-"] * 4), False),
    ],
)
def test_more_than_it_is_worth_is_ignored(value: str, answered: bool) -> None:
    assert (part(f"bytes={value}", of=answer(body=LONG)) is not None) == answered


def test_ranges_count_encoded_bytes_and_encoded_content_is_not_sent_in_several_parts() -> None:
    encoded = answer("Content-Encoding: gzip", body=TEXT)
    single = part("bytes=2-3", of=encoded)
    assert single is not None
    assert single.body == b"23"
    assert lines(single.headers, b"content-encoding") == [b"gzip"]
    assert part("bytes=2-3,5-6", of=encoded) is None


@given(st.binary(min_size=1, max_size=300), st.data())
def test_the_parts_put_together_are_the_body(body: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(body) - 1), max_size=8)) | {0})
    spans = [*zip(cuts, [cut - 1 for cut in cuts[1:]] + [len(body) - 1], strict=True)]
    got = [part(f"bytes={first}-{last}", of=answer(body=body)) for first, last in spans]
    assert b"".join(response.body for response in got if response) == body


@given(st.binary(min_size=40, max_size=200), st.lists(
    st.tuples(st.integers(0, 250), st.integers(0, 20)), min_size=1, max_size=9))
def test_whatever_is_answered_is_what_was_asked_for(body: bytes, asked: list[tuple[int, int]]) -> None:
    response = part("bytes=" + ",".join(f"{first}-{first + more}" for first, more in asked), of=answer(body=body))
    wanted = {at for first, more in asked for at in range(first, first + more + 1) if at < len(body)}
    if response is None:
        return
    assert (response.status == 416) == (not wanted)
    sent: list[int] = []
    for content_range, content in parts_of(response) if wanted else []:
        first, last = (int(number) for number in re.findall(rb"\d+", content_range)[:2])
        assert content == body[first:last + 1]
        sent += range(first, last + 1)
    assert len(sent) == len(set(sent))
    assert set(sent) == wanted


@given(st.binary() | st.from_regex(r"bytes=[0-9, -]*").map(str.encode), st.binary())
def test_no_bytes_break_it(value: bytes, condition: bytes) -> None:
    request = Request("GET", "https", "h", b"/", b"", ((b"range", value), (b"if-range", condition)))
    ranged(request, STORED, now=NOW)
    ranged(replace(request, headers=request.headers[:1]), STORED, now=NOW)


def parts_of(response: Response) -> list[tuple[bytes, bytes]]:
    """Content-Range and content of each part, as the standard library's reader of multipart sees them."""
    media_type = lines(response.headers, b"content-type")
    if not media_type or not media_type[0].startswith(b"multipart/byteranges"):
        return [(lines(response.headers, b"content-range")[0], response.body)]
    boundary = media_type[0].partition(b"boundary=")[2]
    pieces = response.body.split(b"--" + boundary)
    assert (pieces[0], pieces[-1]) == (b"", b"--\r\n")
    found = []
    for piece in pieces[1:-1]:
        head, _, content = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        found.append((message_from_bytes(head)["Content-Range"].encode(), content.removesuffix(b"\r\n")))
    return found
