"""The names of things: which keys and namespaces are sound, and how key templates are filled without collisions."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping

from cachefence_web.errors import ConfigurationError

LONGEST_KEY = 1024
LONGEST_NAMESPACE = 100
_SURROGATE = re.compile("[\ud800-\udfff]")
_PLAIN = re.compile(r"[A-Za-z0-9_.~-]*")
_NAMESPACE = frozenset(string.ascii_letters + string.digits + "_-.:")


def check_key(key: object) -> str:
    """The key itself.

    Raises:
        ConfigurationError: if it is no text, empty, or longer than 1,024 bytes.
    """
    if not isinstance(key, str):
        raise ConfigurationError(f"a key is a text, not {type(key).__name__} {key!r}: write str(...) or an f-string")
    if not key:
        raise ConfigurationError("a key has at least one character")
    if not key.isascii() and _SURROGATE.search(key):
        raise ConfigurationError(f"a key is text that UTF-8 can write; {key[:40]!r} holds half of a surrogate pair")
    if len(key) * 4 > LONGEST_KEY and len(key.encode("utf-8", "surrogatepass")) > LONGEST_KEY:
        raise ConfigurationError(
            f"a key has at most {LONGEST_KEY} bytes, not {len(key)} characters ({key[:40]!r}...): hash its long part")
    return key


def check_namespace(namespace: object) -> str:
    """The namespace itself.

    Raises:
        ConfigurationError: if it is not 1 to 100 letters, digits, `_`, `-`, `.` or `:`.
    """
    if not isinstance(namespace, str) or not namespace or len(namespace) > LONGEST_NAMESPACE \
            or not _NAMESPACE.issuperset(namespace):
        raise ConfigurationError(
            f"a namespace is 1 to {LONGEST_NAMESPACE} letters, digits, '_', '-', '.' or ':', such as 'shop';"
            f" not {namespace!r}")
    return namespace


class Template:
    """A key or tag with `{names}` in it, such as `"user:{user_id}"`.

    Fields are plain names, or attributes of them (`{user.pk}`). Filling it in percent-encodes, inside the values, `:`
    and `%`, so that ("a:b", "c") and ("a", "b:c") do not meet, and whatever a tag may not hold; it tells 1 from "1"
    no more than a key does.

    Raises:
        ConfigurationError: at construction, for a template that does not parse or has positional fields.
    """

    __slots__ = ("_parts", "fields", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            parts = list(string.Formatter().parse(text))
        except ValueError as broken:
            raise ConfigurationError(f"the template {text!r} does not parse: {broken}") from None
        self._parts: list[tuple[str, str | None]] = []
        for literal, field, spec, conversion in parts:
            if field is not None and (not field.split(".")[0].isidentifier() or "[" in field or spec or conversion):
                raise ConfigurationError(f"the template {text!r} has the field {{{field}}}; fields are argument names"
                                         " such as {user_id} or their attributes such as {user.pk}")
            self._parts.append((literal, field))
        self.fields = tuple(dict.fromkeys(field.split(".")[0] for _, field in self._parts if field is not None))

    def fill(self, values: Mapping[str, object]) -> str:
        """The text with its fields replaced.

        Raises:
            ConfigurationError: when a field has no value.
        """
        return "".join([literal if field is None else literal + self._value(field, values)
                        for literal, field in self._parts])

    def _value(self, field: str, values: Mapping[str, object]) -> str:
        name, *attributes = field.split(".")
        try:
            value = values[name]
            for attribute in attributes:
                value = getattr(value, attribute)
        except (KeyError, AttributeError):
            known = ", ".join(values) or "none"
            raise ConfigurationError(
                f"{self.text!r} asks for {{{field}}}, which the call does not have (it has: {known})") from None
        text = str(value)
        return text if _PLAIN.fullmatch(text) else "".join([_escaped(char) for char in text])


def _escaped(char: str) -> str:
    if char in "%:{}*" or char.isspace() or not char.isprintable():
        return "".join([f"%{byte:02X}" for byte in char.encode("utf-8", "surrogatepass")])
    return char
