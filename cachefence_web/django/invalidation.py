"""`invalidates`: the tags that a model's changes make untrue, sent after the commit that made the changes.

Tags are made when a signal comes, and put on the transaction's own list of what is to be done after its commit: a
rollback, of a savepoint too, takes with it what was put there. Where a transaction is managed by hand nobody tells
when it is committed; then the tags are invalidated at once, and once more when a fence's life is over.

Signals tell of `save()`, `delete()` and changes of many-to-many relations. They do not come for
`QuerySet.update()`, `bulk_create()`, `bulk_update()` and raw SQL: put `fence().fencing(...)` around those. Nor do
they come for the objects at the other end of a many-to-many relation when this end is deleted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from django.apps import apps
from django.db import models, transaction
from django.db.models.signals import m2m_changed, post_delete, post_save

from cachefence_web.cache import CacheFence
from cachefence_web.core.keys import Template
from cachefence_web.core.tags import check_tags
from cachefence_web.django.backend import fence
from cachefence_web.errors import ConfigurationError, StoreUnavailable
from cachefence_web.runtime.engine import log

M = TypeVar("M", bound=models.Model)

Tags = Iterable[str] | Callable[[M], Iterable[str]]

_AT_ONCE = 1_000
"""Tags that one call to the store carries."""

_LOOK_BACK = 50
"""How many of a transaction's callbacks, from either end, are searched for a batch that is still open."""


_UNSENT = (
    "a change was committed, but what depends on it could not be invalidated (%s): until its ttl is over it may be"
    " shown as it was. When the store is back, call fence(%r).invalidate_tags(%s)")


def invalidates(model: type[M], *, tags: Tags[M], cache: str = "default") -> Subscription:
    """From now on, a committed change of one of the model's objects invalidates tags. Call it in AppConfig.ready().

    tags: templates of the object's attributes (`["book:{pk}", "book"]`), or a function of the object. They are made
        from the object as it is after the change: what it was before, a former category for instance, is not known.
    cache: the alias of CACHES whose entries carry the tags.

    Proxies of the model and models that inherit its table count as the model. Deleting an object says nothing to those
    that a many-to-many relation ties to it: after `group.delete()` the tags of its users stand. Empty the relation
    first (`group.user_set.clear()`), or let the users' pages carry the group's tag too.

    Raises:
        ConfigurationError: at once, for what cannot work; when an object is saved, for tags that cannot be any.
    """
    given: object = model
    if not isinstance(given, type) or not issubclass(given, models.Model):
        raise ConfigurationError(f"invalidates() takes a model class, not {model!r}")
    if not isinstance(cache, str):
        raise ConfigurationError(f"cache is an alias of CACHES, not {cache!r}")
    if not apps.models_ready:
        raise ConfigurationError(
            f"invalidates({model.__name__}, ...) before all models are loaded: call it in AppConfig.ready()")
    return Subscription(model, _maker(model, tags), cache)


class Subscription:
    """What `invalidates` has set up; `disconnect()` ends it."""

    def __init__(self, model: type[models.Model], make: Callable[[Any], tuple[str, ...]], cache: str) -> None:
        self._model = model._meta.concrete_model or model
        self._make = make
        self._cache = cache
        self._concerned = [each for each in apps.get_models(include_auto_created=True) if issubclass(each, self._model)]
        # To named senders only: a receiver for all would make Django fetch every row that it deletes.
        for sender in self._concerned:
            post_save.connect(self._changed, sender=sender, weak=False)
            post_delete.connect(self._changed, sender=sender, weak=False)
        for through in self._relations():
            m2m_changed.connect(self._related, sender=through, weak=False)

    def disconnect(self) -> None:
        """Invalidate nothing any more; what has been gathered in open transactions still is."""
        for sender in self._concerned:
            post_save.disconnect(self._changed, sender=sender)
            post_delete.disconnect(self._changed, sender=sender)
        for through in self._relations():
            m2m_changed.disconnect(self._related, sender=through)

    def _relations(self) -> set[type[models.Model]]:
        return {through for each in self._concerned for through, *_ in _relations_of(each)}

    def _changed(self, *, instance: models.Model, using: str, **_: object) -> None:
        self._invalidate([instance], using)

    def _related(
        self, *, sender: type[models.Model], action: str, instance: models.Model, model: type[models.Model],
        reverse: bool, pk_set: set[Any] | None, using: str, **_: object,
    ) -> None:
        """Both ends of a relation have changed: the object, and those that were added to it or taken from it."""
        found: list[models.Model] = []
        if action.startswith("post_") and isinstance(instance, self._model):
            found.append(instance)
        if issubclass(model, self._model):
            if action == "pre_clear":  # afterwards nobody knows which they were
                accessor = next(name for through, name, back in _relations_of(type(instance))
                                if through is sender and back is reverse)
                found.extend(getattr(instance, accessor).using(using))
            elif action in ("post_add", "post_remove"):
                found.extend(model._base_manager.using(using).filter(pk__in=pk_set or ()))
        self._invalidate(found, using)

    def _invalidate(self, objects: list[models.Model], using: str) -> None:
        tags = check_tags([tag for each in objects for tag in self._make(each)])
        if tags:
            after_commit(using, self._cache, tags)


def after_commit(using: str, cache: str, tags: tuple[str, ...]) -> None:
    """Invalidate the tags when the connection's outermost transaction has been committed; at once in autocommit.

    It comes before all other callbacks: one that raises takes those behind it with it.
    """
    connection = transaction.get_connection(using)
    if not connection.get_autocommit() and not (connection.in_atomic_block and connection.commit_on_exit):
        _twice(fence(cache), tags)
        return
    # A callback is gone from this list if the savepoint in which it was put there was rolled back.
    waiting = connection.run_on_commit
    for callback in (*waiting[:_LOOK_BACK], *waiting[-_LOOK_BACK:]):
        batch = getattr(callback[1], "__self__", None)
        if isinstance(batch, _Batch) and not batch.sent:
            batch.add(cache, tags)
            return
    batch = _Batch()
    batch.add(cache, tags)
    transaction.on_commit(batch.send, using=using, robust=True)
    # A TestCase's outermost block is never committed, and what it captures are the last callbacks of the list.
    if connection.in_atomic_block and not getattr(connection.atomic_blocks[0], "_from_testcase", False):
        connection.run_on_commit.insert(0, connection.run_on_commit.pop())


class _Batch:
    """The tags of one transaction, by the cache they are for."""

    def __init__(self) -> None:
        self.sent = False
        self._tags: dict[str, dict[str, None]] = {}

    def add(self, cache: str, tags: tuple[str, ...]) -> None:
        self._tags.setdefault(cache, {}).update(dict.fromkeys(tags))

    def send(self) -> None:
        """An outage is logged and no more: the commit stands, and nobody could undo it."""
        self.sent = True
        failures = []
        for cache, tags in self._tags.items():
            for some in _chunks(tuple(tags)):
                try:
                    fence(cache).invalidate_tags(*some)
                except StoreUnavailable as error:
                    log.error(_UNSENT, error, cache, ", ".join(map(repr, some)), exc_info=error)
                except Exception as error:
                    failures.append(error)
        if failures:
            raise failures[0]


def _twice(cache: CacheFence, tags: tuple[str, ...]) -> None:
    """Leave the fences to their deadline, as for a commit whose outcome nobody learnt."""
    for some in _chunks(tags):
        with suppress(_OutcomeUnknown), cache.fencing(*some):
            raise _OutcomeUnknown


class _OutcomeUnknown(Exception):
    """Nobody tells when a transaction that is managed by hand ends."""


def _chunks(tags: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    return (tags[start : start + _AT_ONCE] for start in range(0, len(tags), _AT_ONCE))


def _relations_of(model: type[models.Model]) -> Iterator[tuple[type[models.Model], str, bool]]:
    """Each many-to-many relation as its table's model, the attribute that leads along it, and whether backwards."""
    for field in model._meta.get_fields(include_hidden=True):
        if isinstance(field, models.ManyToManyField):
            found = field.remote_field.through, field.name, False
        elif isinstance(field, models.ManyToManyRel):
            found = field.through, field.get_accessor_name() or "", True
        else:
            continue
        if found[0] is not None:
            yield found[0], found[1], found[2]


def _maker(model: type[M], tags: Tags[M]) -> Callable[[M], tuple[str, ...]]:
    if isinstance(tags, str):
        raise ConfigurationError(f"tags is a list of tags, not one text: write [{tags!r}]")
    if callable(tags):
        function = tags
        return lambda changed: check_tags(function(changed))
    templates = [Template(tag) for tag in tags]
    if not templates:
        raise ConfigurationError(f"invalidates({model.__name__}, tags=[]) would invalidate nothing: name a tag")
    for template in templates:
        for field in template.fields:
            if not hasattr(model, field):
                raise ConfigurationError(f"{template.text!r} names {{{field}}}, which {model.__name__} does not have")
    return lambda changed: tuple([template.fill(_Attributes(changed)) for template in templates])


class _Attributes(Mapping[str, object]):
    """An object's attributes, for a template."""

    def __init__(self, of: object) -> None:
        self._of = of

    def __getitem__(self, name: str) -> object:
        return getattr(self._of, name)

    def __iter__(self) -> Iterator[str]:
        return iter(vars(self._of))

    def __len__(self) -> int:
        return len(vars(self._of))
