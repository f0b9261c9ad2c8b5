"""MessagePack that gives back what it was given: exact types travel, everything else is refused by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from zlib import crc32

from msgspec.msgpack import Decoder, Encoder, Ext

from cachefence_web.errors import ConfigurationError, SerializationError
from cachefence_web.serializers.base import misfit, type_name
from cachefence_web.serializers.compression import unpacked
from cachefence_web.serializers.recipes import BUILTINS, REGISTERED, Recipe, recipe_for

_SCALARS = frozenset({type(None), bool, int, float, str, bytes})
_AS_THEY_ARE = _SCALARS - {int}
_KEYS = frozenset({str, int, bytes})
_TEXT = frozenset({str})
_CONVERTIBLE = frozenset({int, float, str, bytes, list, tuple, dict, set, frozenset})
_LEAST, _MOST = -(2**63), 2**64 - 1

# The document is the array [value, checksum], its last four bytes being the checksum, little-endian: so the
# CRC of the whole is one constant, whatever the value, and any MessagePack reader understands the document.
_FRAME = b"\x92%b\xce"
_CRC_OF_WHOLE = 0x2144DF1C

_STAMP_BYTES = 8


class MessagePack:
    """The default: compact, fast, and bytes that never run.

    Comes back equal and of the same type, at any depth: None, bool, int of any size, float, str, bytes,
    bytearray, list, tuple, set, frozenset, dict with any supported keys, datetime, date, time, timedelta,
    Decimal, UUID; and the registered types. A subclass of one of these (OrderedDict, IntEnum, a string marked
    safe) is another type. What two places share comes back as two equal copies.

    types: dataclasses, msgspec Structs, pydantic models, namedtuples, Enums, a Recipe for anything else; as a
        mapping, name -> class, the stored bytes know the class by that name.
    Raises: ConfigurationError for a type that is not understood, registered twice, or supported already.
    """

    name = "msgpack"

    def __init__(self, types: Iterable[type | Recipe] | Mapping[str, type | Recipe] = ()) -> None:
        if isinstance(types, type | Recipe):
            raise ConfigurationError(f"types={types!r}: give a list of types, [{types!r}]")
        # Of each type: its extension code, what stands before its parts, how it is taken apart.
        self._ways: dict[type, tuple[int, bytes, Callable[[Any], object]]] = {
            recipe.kind: (code, b"", recipe.take_apart) for code, recipe in BUILTINS.items()
        }
        self._registered: dict[bytes, Callable[[Any], object]] = {}
        named = types.items() if isinstance(types, Mapping) else (("", kind) for kind in types)
        for name, kind in named:
            self._register(recipe_for(kind, name))
        self._encode = Encoder().encode
        self._decode_part = Decoder(ext_hook=self._extension).decode
        self._decode_whole = Decoder(tuple[Any, int], ext_hook=self._extension).decode

    def dumps(self, value: object) -> bytes:
        """The value and a checksum.

        Raises: SerializationError for unsupported types, lone surrogates, a value that contains itself.
        """
        try:
            framed = _FRAME % self._body(value)
        except SerializationError:
            raise
        except RecursionError as error:
            raise SerializationError("the value contains itself or nests too deeply: flatten it") from error
        except UnicodeEncodeError as error:
            raise SerializationError(f"text with lone surrogates, store its bytes: {error}") from error
        except Exception as error:
            raise SerializationError(f"a part of the value could not be taken apart: {error!r}") from error
        return framed + crc32(framed).to_bytes(4, "little")

    def loads(self, data: bytes) -> object:
        """The value.

        Raises: SerializationError for damaged or foreign bytes, and for types no longer registered.
        """
        try:
            if crc32(data) != _CRC_OF_WHOLE:
                data = unpacked(data)
                if crc32(data) != _CRC_OF_WHOLE:
                    raise SerializationError("wrong checksum: damaged, or not written by this serializer")
            return self._decode_whole(data)[0]
        except SerializationError:
            raise
        except Exception as error:
            raise SerializationError(f"not a value of this application's version: {error!r}") from error

    def _register(self, recipe: Recipe) -> None:
        if recipe.kind in _SCALARS or recipe.kind is list or recipe.kind in self._ways:
            raise ConfigurationError(
                f"types= has {type_name(recipe.kind)}, which is supported or registered already: leave it out"
            )
        if recipe.stamp in self._registered:
            raise ConfigurationError(
                f"types= has two classes called {recipe.name or type_name(recipe.kind)}: give them names of "
                'their own, as in types={"book": Book}'
            )
        self._ways[recipe.kind] = (REGISTERED, recipe.stamp, recipe.take_apart)
        self._registered[recipe.stamp] = recipe.rebuild

    def _body(self, value: object) -> bytes:
        if misfit(value, _SCALARS, _KEYS) is None:
            try:
                return self._encode(value)
            except OverflowError:  # an integer beyond 64 bits
                return self._encode(self._lowered(value))
        return self._encode(self._lowered(value))

    def _lowered(self, value: Any) -> object:
        """The value in MessagePack's own types, with an extension for each that it lacks."""
        kind = type(value)
        if kind is int:
            if _LEAST <= value <= _MOST:
                return value
        elif kind in _AS_THEY_ARE:
            return value
        elif kind is list:
            return [each if type(each) in _AS_THEY_ARE else self._lowered(each) for each in value]
        elif kind is dict and _TEXT.issuperset(map(type, value)):
            return {key: each if type(each) in _AS_THEY_ARE else self._lowered(each) for key, each in value.items()}
        way = self._ways.get(kind)
        if way is None:
            raise _refusal(kind)
        code, stamp, take_apart = way
        return Ext(code, stamp + self._encode(self._lowered(take_apart(value))))

    def _extension(self, code: int, data: memoryview) -> object:
        if code != REGISTERED:
            return BUILTINS[code].rebuild(self._decode_part(data))
        rebuild = self._registered.get(bytes(data[:_STAMP_BYTES]))
        if rebuild is None:
            raise SerializationError("of a type that is not in types=, or whose fields have changed")
        return rebuild(self._decode_part(data[_STAMP_BYTES:]))


def _refusal(kind: type) -> SerializationError:
    name = type_name(kind)
    base = next((each for each in kind.__mro__[1:] if each in _CONVERTIBLE), None)
    convert = f", convert it to a plain {base.__name__}" if base else ""
    return SerializationError(
        f"a value of type {name} would not come back as it is: register it with "
        f"MessagePack(types=[{kind.__name__}]) (or a Recipe){convert}, or use Pickle(secret=...)"
    )
