"""What a state is, for the purpose of having been there: values laid out flat, instants told by their order only.

A suspended plan is where its frames stand and what their locals hold; an Ask is its key, for the tasks of a scope
never change theirs. Instants are numbers above `BASE`; two
states in which they have the same order are one, so that a tick more or less makes no new state.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, fields, is_dataclass
from functools import lru_cache
from types import CodeType, GeneratorType
from typing import Any

from msgspec import Struct
from msgspec.structs import fields as struct_fields

from cachefence_web.core.entry import Entry
from cachefence_web.core.flight import Ask
from cachefence_web.core.tags import TagRecord
from cachefence_web.stores.dates import Dates
from cachefence_web.stores.ledger import Held, Ledger, Stored

BASE = 10**11
"""All instants are above it, and no other number is."""



@dataclass(frozen=True, slots=True)
class Flat:
    """A row of atoms, and the instants among them."""

    atoms: tuple[Hashable, ...] = ()
    instants: frozenset[int] = frozenset()


NOWHERE = Flat()
"""Where a plan stands that is over."""


def flat(*values: Any) -> Flat:
    """Values as a row of atoms."""
    atoms: list[Any] = []
    for value in values:
        _lay(value, atoms.append)
    return Flat(tuple(atoms), frozenset([atom for atom in atoms if type(atom) is int and atom > BASE]))


def fingerprint(parts: Iterable[Flat]) -> int:
    """A number for rows of atoms in which each instant counts by its rank only."""
    row: list[Any] = []
    instants: set[int] = set()
    for part in parts:
        row += part.atoms
        instants |= part.instants
    ranks = {instant: -rank - 10 for rank, instant in enumerate(sorted(instants))}
    return hash(tuple(map(ranks.get, row, row)))


Put = Callable[[Hashable], None]

_ATOMS = {int, str, bytes, bool, float, type(None)}


def _lay(value: Any, put: Put) -> None:
    kind = type(value)
    if kind in _ATOMS:
        put(value)
        return
    layer = _LAYERS.get(kind)
    if layer is None:
        layer = _LAYERS[kind] = _layer_for(value)
    layer(value, put)


def _layer_for(value: Any) -> Callable[[Any, Put], None]:
    if isinstance(value, enum.Enum):
        return _atom
    if isinstance(value, BaseException):
        return _error
    if is_dataclass(value) or isinstance(value, Struct):
        names = tuple(field.name for field in (fields(value) if is_dataclass(value) else struct_fields(value)))

        label = type(value).__name__

        def lay(value: Any, put: Put) -> None:
            put(label)
            for name in names:
                item = getattr(value, name)
                if type(item) in _ATOMS:
                    put(item)
                else:
                    _lay(item, put)

        return lay
    return _atom


def _atom(value: Any, put: Put) -> None:
    put(value)


def _remembered(value: Any, put: Put) -> None:
    for atom in _atoms_of(value):
        put(atom)


@lru_cache(maxsize=50_000)
def _atoms_of(value: Any) -> tuple[Hashable, ...]:
    atoms: list[Any] = []
    _layer_for(value)(value, atoms.append)
    return tuple(atoms)


def remember(*kinds: type) -> None:
    """Lay values of these kinds out but once: they are hashable, and there are few of them."""
    _LAYERS.update(dict.fromkeys(kinds, _remembered))


def _error(value: BaseException, put: Put) -> None:
    put(f"{type(value).__name__}: {value}")


def _sequence(value: Any, put: Put) -> None:
    put(len(value))
    for item in value:
        if type(item) in _ATOMS:
            put(item)
        else:
            _lay(item, put)


def _mapping(value: dict[Any, Any], put: Put) -> None:
    put(len(value))
    for key in sorted(value) if len(value) > 1 else value:
        _lay(key, put)
        _lay(value[key], put)


def _ask(value: Ask, put: Put) -> None:
    put(value.key)


def _plan(value: GeneratorType[Any, Any, Any], put: Put) -> None:
    inner: Any = value
    while isinstance(inner, GeneratorType):
        frame = inner.gi_frame
        code: CodeType = inner.gi_code
        put(code.co_name)
        if frame is None:
            return
        put(frame.f_lasti)
        locals_ = frame.f_locals
        for local in (locals_["plan"],) if code.co_name == "driven" else locals_.values():
            if type(local) in _ATOMS:
                put(local)
            else:
                _lay(local, put)
        inner = inner.gi_yieldfrom


def _stored(value: Stored, put: Put) -> None:
    _lay(value.entry, put)
    put(value.ends)


def _ledger(value: Ledger, put: Put) -> None:
    for table in (value.entries, value.leases, value.failures):
        _mapping(table, put)
    _lay(value.dates, put)


def _dates(value: Dates, put: Put) -> None:
    for part in (value.epoch, value.last, value.floor, value.records, value.fences, value.recent):
        _lay(part, put)


_LAYERS: dict[type, Callable[[Any, Put], None]] = {
    tuple: _sequence, list: _sequence, dict: _mapping, GeneratorType: _plan, Ledger: _ledger, Dates: _dates,
    Stored: _stored, Ask: _ask,
}
remember(Entry, TagRecord, Held)
