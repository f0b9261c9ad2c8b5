"""From an application's config, and the defaults of its extension object, to the arguments of its cache."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from flask import Flask

from cachefence_web.core.policy import Policy
from cachefence_web.errors import ConfigurationError
from cachefence_web.serializers import Pickle

_PREFIX = "CACHEFENCE_"
_SETTINGS = (
    "url", "namespace", "policy", "policies", "serializer", "secret", "timeout", "on_outage", "fence_life", "rules",
    "debug_header")


def configured(app: Flask) -> dict[str, Any]:
    """The settings in the application's config."""
    given = {}
    for name, value in app.config.items():
        if name.startswith(_PREFIX):
            setting = name.removeprefix(_PREFIX).lower()
            if setting not in _SETTINGS:
                near = [_PREFIX + each.upper() for each in get_close_matches(setting, _SETTINGS, n=1)]
                known = ", ".join([_PREFIX + each.upper() for each in _SETTINGS])
                hint = f"did you mean {near[0]!r}?" if near else f"the settings are {known}"
                raise ConfigurationError(f"unknown setting {name!r}; {hint}")
            given[setting] = value
    return given


def settled(settings: dict[str, Any], app: Flask) -> dict[str, Any]:
    """The settings as the core takes them: policies from dicts, the secret from where Flask keeps its own."""
    policy, policies = settings["policy"], settings["policies"]
    if isinstance(policy, Mapping):
        settings["policy"] = Policy.of(policy)
    if isinstance(policies, Mapping):
        settings["policies"] = {
            name: Policy.of(tier) if isinstance(tier, Mapping) else tier for name, tier in policies.items()}
    elif policies is not None:
        raise ConfigurationError(f"policies is a dict of policies by name, not {policies!r:.60}")
    if settings["serializer"] == "pickle" and settings["secret"] is None:
        settings["serializer"] = Pickle(
            secret=app.config.get("SECRET_KEY"), fallbacks=app.config.get("SECRET_KEY_FALLBACKS") or ())
    return settings
