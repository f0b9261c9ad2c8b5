"""Pickle runs what it reads, so nothing is unpickled before its signature has proved who wrote it."""

from __future__ import annotations

import hmac
import pickle
from collections.abc import Sequence

from cachefence_web.errors import ConfigurationError, SerializationError
from cachefence_web.serializers.compression import unpacked

_MARK = b"\xc0"
_DIGEST = "sha256"
_DIGEST_BYTES = 32
_PURPOSE = b"cachefence-web signed pickle 1"
_PROTOCOL = 5
_SHORTEST = 16


class Pickle:
    """Any picklable value, signed with HMAC-SHA256.

    secret: the application's own (Django's SECRET_KEY will do), of at least 16 bytes; the key is derived from
        it, so a signature made elsewhere with it is none here. Whoever holds it can run code here.
    fallbacks: former secrets, under which values are still read while new ones are signed with `secret`.
    Raises: ConfigurationError when a secret is missing or too short.
    """

    name = "pickle"

    def __init__(self, *, secret: str | bytes | None, fallbacks: Sequence[str | bytes] = ()) -> None:
        if isinstance(fallbacks, str | bytes):
            raise ConfigurationError("fallbacks= is a list of former secrets: write fallbacks=[old_secret]")
        self._keys = tuple(_key(each) for each in (secret, *fallbacks))

    def dumps(self, value: object) -> bytes:
        """A mark, the signature, the pickle.

        Raises: SerializationError when the value cannot be pickled.
        """
        try:
            body = pickle.dumps(value, _PROTOCOL)
        except Exception as error:
            raise SerializationError(
                f"cannot pickle this {type(value).__qualname__}, store plain data instead: {error}"
            ) from error
        return _MARK + hmac.digest(self._keys[0], body, _DIGEST) + body

    def loads(self, data: bytes) -> object:
        """The value, if it was signed with one of the secrets.

        Raises: SerializationError otherwise, without a look into the pickle; and when what it names is gone.
        """
        data = unpacked(data)
        mark, signature, body = data[:1], data[1 : 1 + _DIGEST_BYTES], data[1 + _DIGEST_BYTES :]
        if mark != _MARK or not any(
            hmac.compare_digest(hmac.digest(key, body, _DIGEST), signature) for key in self._keys
        ):
            raise SerializationError(
                "not signed with this application's secret; if that changed, give the old one in fallbacks="
            )
        try:
            return pickle.loads(body)  # noqa: S301 (its signature has just been verified)
        except Exception as error:
            raise SerializationError(f"pickled by another version of the application: {error}") from error


def _key(secret: str | bytes | None) -> bytes:
    if not isinstance(secret, str | bytes):
        raise ConfigurationError(
            "Pickle needs the application's secret to sign with: Pickle(secret=...), or use MessagePack()"
        )
    raw = secret.encode("utf-8", "surrogatepass") if isinstance(secret, str) else secret
    if len(raw) < _SHORTEST:
        raise ConfigurationError(
            f"a secret of {len(raw)} bytes can be guessed: take {_SHORTEST}, or secrets.token_urlsafe(32)"
        )
    return hmac.digest(raw, _PURPOSE, _DIGEST)
