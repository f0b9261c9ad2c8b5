"""An address that leads nowhere is told so, without the password that stands in it."""

from __future__ import annotations

import pytest

from cachefence_web import CacheFence, ConfigurationError

SECRET = "s3cret"


@pytest.mark.parametrize(("url", "told"), [
    (f"reddis://:{SECRET}@h/0", "reddis://***@h/0"),
    (f"user:{SECRET}@h:6379", "***@h:6379"),
    (f"redis//:{SECRET}@h", "***@h"),
    (f"redis://:{SECRET}@h:bad/0", "'bad'"),
    (f"redis://:{SECRET}#x@h/0", "percent-encode"),
    (f"redis://:x#{SECRET}@h/0", "percent-encode"),
    (f"redis://:{SECRET}/x@h/0", "percent-encode"),
    (f"redis://:{SECRET}?x@h/0", "percent-encode"),
    (f"redis://:{SECRET}[x@h/0", "***@h/0"),
    (f"redis://[{SECRET}@h/0", "***@h/0"),
    (f"redis://:{SECRET}@h:1/0?socket_timeout=abc", "socket_timeout"),
    (f"redis://h:1/0?password={SECRET}&bogus=1", "bogus"),
    (f"redis://h:bad/0?password={SECRET}@{SECRET}", "redis://***"),
    (f"redis://user:{SECRET}@h/books", "'/books'"),
    (f"redis+sentinel://:{SECRET}@h/0/0/0", "redis+sentinel://***@h/0/0/0"),
    (f"redis+sentinel://:{SECRET}#@h/service/0", "percent-encode"),
    (f"redis+sentinel://h/service/0?sentinel_password={SECRET}&sentinel_name=x", "sentinel_name"),
    (f"redis+cluster://:{SECRET}@h:bad", "redis+cluster://***@h:bad"),
    (f"redis+cluster://:{SECRET}#@h:1", "redis+cluster://***@h:1"),
    (f"memory://:{SECRET}@h", "memory://***@h"),
], ids=str)
def test_no_message_tells_a_password(url: str, told: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        CacheFence(url)
    assert told in str(refused.value)
    assert SECRET not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__ or refused.value.__context__ is None

