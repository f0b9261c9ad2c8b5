"""A value that a dependency loads, kept: keyed by the values of the request that its function takes."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import fields, is_dataclass
from functools import partial, wraps
from inspect import Parameter, Signature
from typing import Any

from fastapi import BackgroundTasks
from fastapi.dependencies.utils import get_typed_signature
from fastapi.security import SecurityScopes
from pydantic import BaseModel
from starlette.background import BackgroundTasks as StarletteBackgroundTasks
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import Scope

from cachefence_web.core.calls import Call
from cachefence_web.core.flight import Lead, Served
from cachefence_web.core.keys import Template
from cachefence_web.errors import ConfigurationError
from cachefence_web.fastapi.dating import hand_on
from cachefence_web.runtime.leading import AsyncLeading
from cachefence_web.runtime.recording import current, depends_on, inherit
from cachefence_web.starlette.declaring import Declaration
from cachefence_web.starlette.exchange import handled
from cachefence_web.starlette.views import is_async

_CONNECTION = "cachefence_connection"
_NO_VALUES = (HTTPConnection, Response, StarletteBackgroundTasks, BackgroundTasks, SecurityScopes)


class Loader:
    """A function whose results are kept, and what its calls are called.

    Raises:
        ConfigurationError: for generators, a template or an `unkeyed` that names no parameter, and parameters that
            are tools of a request rather than values.
    """

    def __init__(
        self, load: Callable[..., Any], declared: Declaration, key: str | None, unkeyed: Collection[str]
    ) -> None:
        if not callable(load):
            raise ConfigurationError(f"cached(load) takes the function that loads the value, not {load!r}")
        if inspect.isgeneratorfunction(load) or inspect.isasyncgenfunction(load):
            raise ConfigurationError(f"{load!r} is a generator, and what it yields ends with its request:"
                                     " cache a function that returns the value")
        self.signature = get_typed_signature(load)
        self._load: Callable[..., Awaitable[Any]] = load if is_async(load) else partial(run_in_threadpool, load)
        self._declared = declared
        self._call = Call(load, named=key is not None)
        self._template = None if key is None else Template(key)
        self._unkeyed = self._checked(unkeyed)
        declared.check_fields(list(self.signature.parameters), self._call.name)
        self._refuse_tools()
        self._wrapped = load

    def dependency(self) -> Callable[..., Awaitable[Any]]:
        """A function with the loader's own parameters, for FastAPI to resolve."""
        own = list(self.signature.parameters.values())
        connections = [each.name for each in own
                       if isinstance(each.annotation, type) and each.annotation is HTTPConnection]
        carrier = connections[0] if connections else _CONNECTION

        @wraps(self._wrapped)
        async def load(**values: Any) -> Any:
            connection: HTTPConnection = values[carrier]
            if not connections:
                del values[carrier]
            return await self._value(connection.scope, values)

        extra = [] if connections else [Parameter(_CONNECTION, Parameter.KEYWORD_ONLY, annotation=HTTPConnection)]
        named = [each.replace(kind=Parameter.KEYWORD_ONLY) for each in own]
        load.__signature__ = Signature([*named, *extra])  # type: ignore[attr-defined]
        return load

    async def _value(self, scope: Scope, values: dict[str, Any]) -> Any:
        """The value: stored, another request's, or this one's.

        Led by hand, not handed to the cache as a function: what it uses, such as a database session, lives as long
        as this request, so neither a later refresh nor anybody else may run it.
        """
        fence, outer = self._declared.fence(scope), current()
        key, tags = self._key(values), self._declared.tags(values)
        begun = await fence.begin(key, tags=tags, policy=self._declared.policy(fence))
        if isinstance(begun, Served):
            return begun.value
        if not isinstance(begun, Lead):
            depends_on(*tags)
            return await self._load(**values)
        async with fence.leading(begun) as leading:
            try:
                return await self._led(leading, handled(scope), values)
            finally:
                if outer is not None:
                    hand_on(leading.recording, outer.recording)

    async def _led(
        self, leading: AsyncLeading, answers: tuple[type[BaseException], ...], values: dict[str, Any]
    ) -> Any:
        try:
            value = await self._load(**values)
        except answers:  # to whoever asked, not a failure to be shared
            await leading.pass_by()
            raise
        except Exception as error:
            landing = await leading.fail(error)
            last = landing if isinstance(landing, Served) else leading.stale
            if last is None:
                raise
            inherit(last)
            return last.value
        await leading.finish(value)
        return value

    def _key(self, values: Mapping[str, Any]) -> str:
        if self._template is not None:
            return self._template.fill(values)
        keyed = {name: _plain(value) for name, value in values.items() if name not in self._unkeyed}
        try:
            return self._call.key(keyed)
        except ConfigurationError as refused:
            raise ConfigurationError(f"{refused}; or name it in unkeyed=(...) if it makes no difference to the"
                                     " value, as a database session does") from None

    def _checked(self, unkeyed: Collection[str]) -> frozenset[str]:
        if isinstance(unkeyed, str):
            raise ConfigurationError(f"unkeyed is a list of parameters, not one text: write [{unkeyed!r}]")
        known = self.signature.parameters
        for name in (*unkeyed, *(self._template.fields if self._template else ())):
            if name not in known:
                raise ConfigurationError(f"{self._call.name} has no {name!r}; it has {', '.join(known) or 'nothing'}")
        return frozenset(unkeyed)

    def _refuse_tools(self) -> None:
        for name, parameter in self.signature.parameters.items():
            kind = parameter.annotation
            if self._template is None and name not in self._unkeyed and isinstance(kind, type) \
                    and issubclass(kind, _NO_VALUES):
                raise ConfigurationError(
                    f"{self._call.name} takes {name!r}, a {kind.__name__}, which no key can be made of: take the values"
                    f" that it needs instead, or give key='...', or unkeyed=[{name!r}] if it makes no difference")


def _plain(value: Any) -> Any:
    """Models and dataclasses as what they are made of, for the key; hidden fields count."""
    if isinstance(value, BaseModel):
        parts = {**value.__dict__, **(value.__pydantic_extra__ or {})}
        return (type(value), {name: _plain(part) for name, part in parts.items()})
    if is_dataclass(value) and not isinstance(value, type) and not hasattr(value, "__cachefence_key__"):
        return (type(value), {each.name: _plain(getattr(value, each.name)) for each in fields(value)})
    if type(value) in (list, tuple):
        return type(value)([_plain(part) for part in value])
    if type(value) is dict:
        return {name: _plain(part) for name, part in value.items()}
    return value
