"""Names that cannot work are refused; templates fill without two calls meeting in one key."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachefence_web.core.keys import Template, check_key, check_namespace
from cachefence_web.core.tags import check_tags
from cachefence_web.errors import ConfigurationError


@pytest.mark.parametrize(("key", "words"), [
    (b"k", "a key is a text, not bytes"),
    (7, "a key is a text"),
    (None, "a key is a text"),
    ("", "at least one character"),
    ("k" * 1025, "at most 1024 bytes.*hash"),
    ("\N{SNOWMAN}" * 342, "at most 1024 bytes"),
])
def test_a_key_that_cannot_work_is_refused(key: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        check_key(key)


@pytest.mark.parametrize("key", ["k", "k" * 1024, "\N{SNOWMAN}" * 341, "user:{42}", "a b\n"])
def test_any_other_text_is_a_key(key: str) -> None:
    assert check_key(key) == key


@pytest.mark.parametrize("namespace", ["", "a b", "a{b}", "a*", "n" * 101, None, 3, "Ä"])
def test_a_namespace_that_cannot_work_is_refused(namespace: Any) -> None:
    with pytest.raises(ConfigurationError, match="such as 'shop'"):
        check_namespace(namespace)


@pytest.mark.parametrize("text", ["{", "{}", "{0}", "{a[0]}", "{a!r}", "{a:>3}", "{1a}"])
def test_a_template_that_cannot_be_filled_is_refused_at_once(text: str) -> None:
    with pytest.raises(ConfigurationError, match="template"):
        Template(text)


def test_a_template_takes_arguments_and_their_attributes() -> None:
    made = Template("user:{user.pk}:{page}")
    assert made.fields == ("user", "page")
    assert made.fill({"user": SimpleNamespace(pk=42), "page": 1}) == "user:42:1"


@pytest.mark.parametrize("values", [{}, {"user": object()}])
def test_a_missing_value_is_named_with_those_there_are(values: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match=r"asks for \{user.pk\}"):
        Template("user:{user.pk}").fill(values)


@given(st.tuples(st.text(), st.text()), st.tuples(st.text(), st.text()))
def test_different_values_make_different_keys(one: tuple[str, str], other: tuple[str, str]) -> None:
    made = Template("{a}:{b}")
    keys = [made.fill(dict(zip("ab", values, strict=True))) for values in (one, other)]
    assert (keys[0] == keys[1]) == (one == other)


@given(st.text(min_size=1))
def test_whatever_is_filled_in_a_filled_template_is_a_tag(value: str) -> None:
    assert check_tags([Template("book:{slug}").fill({"slug": value[:20]})])
