"""JSON for values that other programs read: what JSON would change on the way is refused, not bent."""

from __future__ import annotations

import json

from cachefence_web.errors import SerializationError
from cachefence_web.serializers.base import misfit
from cachefence_web.serializers.compression import unpacked

_SCALARS = frozenset({type(None), bool, int, float, str})
_KEYS = frozenset({str})


class Json:
    """Plain UTF-8 JSON.

    It has no checksum: a flipped digit is another number. Prefer MessagePack unless other programs read it.
    """

    name = "json"

    def __init__(self) -> None:
        self._encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
        self._decode = json.JSONDecoder(parse_constant=_no_constant).decode

    def dumps(self, value: object) -> bytes:
        """The value's JSON.

        Raises: SerializationError for what JSON would change: tuples, keys but text, NaN, bytes, subclasses.
        """
        try:
            if found := misfit(value, _SCALARS, _KEYS):
                raise SerializationError(
                    f"{found} would not come back from JSON as it is: use MessagePack(), or convert it to "
                    "plain lists, dicts with text keys, text, numbers, booleans and None"
                )
            return self._encode(value).encode()
        except SerializationError:
            raise
        except RecursionError as error:
            raise SerializationError("the value contains itself or nests too deeply: flatten it") from error
        except Exception as error:
            raise SerializationError(f"JSON cannot carry this value, use MessagePack(): {error}") from error

    def loads(self, data: bytes) -> object:
        """The value in the JSON.

        Raises: SerializationError for bytes that are no JSON.
        """
        try:
            return self._decode(unpacked(data).decode())
        except SerializationError:
            raise
        except Exception as error:
            raise SerializationError(f"not JSON: {error}") from error


def _no_constant(name: str) -> object:
    raise SerializationError(f"{name} is no JSON: the bytes were not written here")
