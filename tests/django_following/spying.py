"""What is asked of a store, as it is asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cachefence_web.core.effects import Fence, Lift
from cachefence_web.django import fence
from cachefence_web.django.alias import store_of

Heard = list[Fence | Lift]


def listen(monkeypatch: pytest.MonkeyPatch, hook: Callable[[Any], None] = lambda effect: None) -> Heard:
    """The fences and lifts from now on; `hook` is called with each before it is performed."""
    kind: Any = type(store_of(fence()))
    heard: Heard = []
    perform = kind.perform

    def spying(self: Any, effect: Any) -> Any:
        if isinstance(effect, Fence | Lift):
            heard.append(effect)
            hook(effect)
        return perform(self, effect)

    monkeypatch.setattr(kind, "perform", spying)
    return heard
