"""Cache groups are tags (RFC 9875)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachefence_web.core.tags import LONGEST_TAG, check_tags
from cachefence_web.http.groups import MOST_GROUPS, group_tag, groups, invalidated_groups
from tests.http.build import fields

ORIGIN = "https://shop.example"

_parts = st.text(alphabet='aB:|/{}* "#é\udc80', max_size=4) | st.text(max_size=300) | st.just("https://a")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (['Cache-Groups: "scripts"'], ("scripts",)),
        (['Cache-Groups: "b", "a"'], ("b", "a")),
        (['Cache-Groups: "b"', 'cache-groups: "a"'], ("b", "a")),
        (['Cache-Groups: "a", "a", "A"'], ("a", "A")),
        (['Cache-Groups: "a";revalidate;x=1, "b"'], ("a", "b")),
        (['Cache-Groups:   "a" ,\t"b"  '], ("a", "b")),
        (['Cache-Groups: "two words, and \\"more\\" \\\\"'], ('two words, and "more" \\',)),
        (['Cache-Groups: ""'], ("",)),
        (["Cache-Groups: "], ()),
        ([], ()),
        (["Cache-Groups: scripts"], ()),
        (["Cache-Groups: 'scripts'"], ()),
        (['Cache-Groups: "a", b'], ()),
        (['Cache-Groups: "a", 1'], ()),
        (['Cache-Groups: "a", ("b" "c")'], ()),
        (['Cache-Groups: ("a")'], ()),
        (['Cache-Groups: "a", :YQ==:'], ()),
        (['Cache-Groups: "a", ?1'], ()),
        (['Cache-Groups: "a", %"b"'], ()),
        (['Cache-Groups: "a",'], ()),
        (['Cache-Groups: "a" "b"'], ()),
        (['Cache-Groups: "a'], ()),
        (['Cache-Groups: "é"'], ()),
        (['Cache-Groups: "a\\b"'], ()),
        (['Cache-Groups: "a"', "Cache-Groups: b"], ()),
        (['Cache-Group-Invalidation: "a"'], ()),
    ],
)
def test_a_list_of_strings_names_groups_and_anything_else_none(lines: list[str], expected: tuple[str, ...]) -> None:
    assert groups(fields(*lines)) == expected
    renamed = [line.replace("Cache-Groups", "Cache-Group-Invalidation") for line in lines]
    if renamed != lines and not any("cache-groups" in line for line in lines):
        assert invalidated_groups(fields(*renamed)) == expected


def test_a_response_has_a_bounded_number_of_groups_and_an_invalidation_has_not() -> None:
    names = [f"g{number}" for number in range(MOST_GROUPS + 50)]
    value = ", ".join(f'"{name}"' for name in names)
    assert groups(fields(f"Cache-Groups: {value}")) == tuple(names[:MOST_GROUPS])
    assert invalidated_groups(fields(f"Cache-Group-Invalidation: {value}")) == tuple(names)


def test_the_least_that_a_cache_has_to_support_is_supported() -> None:
    names = tuple(f"{number:>032}" for number in range(32))
    assert groups(fields("Cache-Groups: " + ", ".join(f'"{name}"' for name in names))) == names


@pytest.mark.parametrize(
    ("origin", "group", "tag"),
    [
        (ORIGIN, "scripts", "group:https://shop.example|scripts"),
        (ORIGIN, "", "group:https://shop.example|"),
        ("http://[::1]:8000", "book:42", "group:http://[::1]:8000|book:42"),
        (ORIGIN, "two words", "group#9bfbc248a0f4404c116a8b5e3eb3d3ac7caa3cf0"),
    ],
)
def test_a_tag_is_readable_where_it_can_be_and_the_same_in_all_processes(origin: str, group: str, tag: str) -> None:
    assert group_tag(origin, group) == tag


@pytest.mark.parametrize("group", ["a*", "a:*", "{a}", "a b", "a\tb", "é", "x" * 1000, "\udc80", "|"])
def test_what_a_tag_may_not_hold_is_hashed(group: str) -> None:
    assert group_tag(ORIGIN, group).startswith("group#")


@given(_parts, _parts, _parts, _parts)
def test_each_origin_and_group_has_a_tag_of_its_own_that_the_core_takes(
    origin: str, group: str, other_origin: str, other_group: str
) -> None:
    tags = group_tag(origin, group), group_tag(other_origin, other_group)
    assert (tags[0] == tags[1]) == ((origin, group) == (other_origin, other_group))
    check_tags(tags)
    assert all(len(tag) <= LONGEST_TAG for tag in tags)


@given(st.lists(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126)), unique=True, max_size=20))
def test_names_written_as_a_list_of_strings_are_read_back(names: list[str]) -> None:
    value = ", ".join('"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"' for name in names)
    assert groups(((b"cache-groups", value.encode()),)) == tuple(names)


@given(st.lists(st.binary() | st.text(alphabet='ab=", ()\\;:?%@1.').map(str.encode)))
def test_no_bytes_break_the_parser(values: list[bytes]) -> None:
    found = groups(tuple((b"cache-groups", value) for value in values))
    check_tags([group_tag(ORIGIN, name) for name in found])
