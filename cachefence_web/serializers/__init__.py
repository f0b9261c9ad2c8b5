"""Values to bytes and back: what returns from the store is what went in, or it is a clear error."""

from __future__ import annotations

from collections.abc import Sequence

from cachefence_web.errors import ConfigurationError
from cachefence_web.serializers.base import Serializer
from cachefence_web.serializers.compression import Compressed
from cachefence_web.serializers.messagepack import MessagePack
from cachefence_web.serializers.recipes import Recipe
from cachefence_web.serializers.signed import Pickle
from cachefence_web.serializers.text import Json

__all__ = ["Compressed", "Json", "MessagePack", "Pickle", "Recipe", "Serializer", "serializer_from"]


def serializer_from(
    choice: str | Serializer, *, secret: str | bytes | None = None, fallbacks: Sequence[str | bytes] = ()
) -> Serializer:
    """The serializer that a setting names, or the instance it holds.

    secret, fallbacks: for "pickle" only; the others sign nothing.
    Raises: ConfigurationError for anything else, and for "pickle" without a secret.
    """
    if choice == "msgpack":
        return MessagePack()
    if choice == "json":
        return Json()
    if choice == "pickle":
        return Pickle(secret=secret, fallbacks=fallbacks)
    if isinstance(choice, type) or not isinstance(choice, Serializer):
        raise ConfigurationError(
            f'serializer={choice!r} is none: give "msgpack", "json", "pickle" (with a secret), or an '
            "instance such as MessagePack(types=[Book]) or Compressed(MessagePack())"
        )
    return choice
