"""What the tests of fragments show, and what shows it."""

from __future__ import annotations

from collections.abc import Callable

from django.template import Context, Template


class Count:
    """A value that counts how often it is shown."""

    def __init__(self, text: str = "n") -> None:
        self.text, self.times = text, 0

    def __str__(self) -> str:
        self.times += 1
        return f"{self.text}{self.times}"


def page(text: str) -> Callable[..., str]:
    template = Template("{% load cachefence %}" + text)
    return lambda **values: template.render(Context(values))
