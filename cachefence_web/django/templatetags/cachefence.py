"""`{% cachefence %}`: arguments are judged when the template is compiled, as far as they are written in it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from django.core.cache import caches
from django.template import Context, Library, Node, NodeList, TemplateSyntaxError, VariableDoesNotExist
from django.template.base import FilterExpression, Parser, Token, Variable
from django.utils.safestring import SafeString

from cachefence_web.core.keys import Template
from cachefence_web.core.policy import Policy, PolicyOptions
from cachefence_web.core.tags import check_tags
from cachefence_web.django.alias import name_of
from cachefence_web.django.backend import RedisCache
from cachefence_web.django.dating import fragments_alias, gather_from_now_on
from cachefence_web.django.fences import life
from cachefence_web.django.fragments import fragment, fragment_key
from cachefence_web.errors import ConfigurationError
from cachefence_web.runtime.recording import depends_on

register = Library()

_OPTIONS = tuple(name for name in PolicyOptions.__annotations__ if name != "ttl")
_OWN = ("tags", "using")
_KEYWORD = re.compile(r"(\w+)=(.+)", re.DOTALL)
_NAME = re.compile(r"""[\w.:/-]{1,100}""")
_FIELD = re.compile(r"\{([^{}]*)\}")
_USAGE = '{% cachefence seconds name vary... tags="book:{book.pk}" %}'


@register.tag("cachefence")
def compile_fragment(parser: Parser, token: Token) -> FragmentNode:
    """`{% cachefence seconds name vary... tags=... %}...{% endcachefence %}`: rendered once, however many ask.

    seconds: how long it is kept, None without end; 0 not at all.
    vary: whatever tells apart those who see different things. Where one of them has no value, nothing is stored.
    tags: a list, or a text of tags with spaces between, in which {book.pk} stands for a value. They are handed on to
        the fragment around, and to the cached view around that, whose tags are its own if it names none.
    using: the alias of CACHES; "template_fragments" if there is one, or "default".
    stale_for, stale_if_error and the other options of a policy may be given as well.

    A fragment that has used the CSRF token, the messages or a nonce is not stored. One that has used the user, the
    session, a cookie, a header field or what middleware has put on the request is stored only if what it varies on
    uses that as well.

    Raises:
        TemplateSyntaxError: for arguments that cannot work.
    """
    arguments = _Arguments(parser, token)
    nodes = parser.parse(("endcachefence",))
    parser.delete_first_token()
    gather_from_now_on()
    return FragmentNode(nodes, arguments)


class _Arguments:
    """What stands in the tag."""

    def __init__(self, parser: Parser, token: Token) -> None:
        words = token.split_contents()[1:]
        keywords = [match for word in words if (match := _KEYWORD.fullmatch(word))]
        positional = [word for word in words if not _KEYWORD.fullmatch(word)]
        if len(positional) < 2:
            raise TemplateSyntaxError(f"cachefence needs seconds and a name: {_USAGE}")
        if positional != words[:len(positional)]:
            raise TemplateSyntaxError(f"cachefence takes what has no name before what has one: {_USAGE}")
        self.seconds = parser.compile_filter(positional[0])
        self.name = _named(positional[1])
        self.vary = [parser.compile_filter(word) for word in positional[2:]]
        self.given: dict[str, FilterExpression] = {}
        self.tags: _Tags | None = None
        for match in keywords:
            self._take(parser, match[1], match[2])
        _judge("seconds", self.seconds, life)

    def _take(self, parser: Parser, name: str, text: str) -> None:
        if name in self.given or (name == "tags" and self.tags is not None):
            raise TemplateSyntaxError(f"cachefence was given {name} twice")
        if name not in _OPTIONS and name not in _OWN:
            near = difflib.get_close_matches(name, [*_OWN, *_OPTIONS], n=1)
            hint = f"did you mean {near[0]}?" if near else f"it takes {', '.join([*_OWN, *_OPTIONS])}"
            raise TemplateSyntaxError(f"cachefence takes no {name}; {hint}")
        if name == "tags":
            self.tags = _Tags.of(parser, text)
            return
        self.given[name] = value = parser.compile_filter(text)
        _judge(name, value, _check_alias if name == "using" else lambda given: Policy.of({name: given}))


@dataclass(frozen=True, slots=True)
class _Tags:
    """`tags=`: an expression, or a text with expressions in it, which were compiled with the template."""

    whole: FilterExpression
    parts: tuple[tuple[Template, tuple[FilterExpression, ...]], ...] | None

    @classmethod
    def of(cls, parser: Parser, text: str) -> _Tags:
        whole = parser.compile_filter(text)
        if not _is_literal(whole):
            return cls(whole, None)
        if not isinstance(whole.var, str):
            raise TemplateSyntaxError(f"cachefence: tags is a list or a text, not {text}")
        return cls(whole, tuple([_part(parser, tag) for tag in whole.var.split()]))

    def resolve(self, context: Context) -> tuple[str, ...]:
        """The tags.

        Raises:
            VariableDoesNotExist: if one is made of what is not there.
            ConfigurationError: if they are no list and no text.
        """
        if self.parts is not None:
            return tuple([template.fill({f"_{at}": _there(each, context) for at, each in enumerate(fields)})
                          for template, fields in self.parts])
        given = _there(self.whole, context)
        if isinstance(given, str):
            return tuple(given.split())
        if given is None or not isinstance(given, Iterable):
            raise ConfigurationError(f"tags is a list or a text, not {given!r}")
        return tuple([str(tag) for tag in given])


def _part(parser: Parser, tag: str) -> tuple[Template, tuple[FilterExpression, ...]]:
    """One tag of a text, its fields compiled; a stand-in for each of them lets the rest be judged."""
    fields = _FIELD.findall(tag)
    for field in fields:
        if not field:
            raise TemplateSyntaxError(f"cachefence: the tag {tag!r} has an empty field: write {{book.pk}}")
    numbers = iter(range(len(fields)))
    try:
        template = Template(_FIELD.sub(lambda _: f"{{_{next(numbers)}}}", tag))
        check_tags([template.fill({f"_{at}": "0" for at in range(len(fields))})])
    except ConfigurationError as refused:
        raise TemplateSyntaxError(f"cachefence: {refused}") from refused
    return template, tuple([parser.compile_filter(field) for field in fields])


class FragmentNode(Node):
    """A compiled fragment."""

    def __init__(self, nodelist: NodeList, arguments: _Arguments) -> None:
        self.nodelist = nodelist
        self._is = arguments

    def render(self, context: Context) -> SafeString:
        """The fragment, from the cache or rendered now."""
        try:
            vary = self._vary(context)
            tags = self._is.tags.resolve(context) if self._is.tags is not None else ()
        except ConfigurationError as refused:
            raise TemplateSyntaxError(f"cachefence {self._is.name}: {refused}") from refused
        except VariableDoesNotExist:
            return self._plain(context)  # shared, it would be seen by those whom it was to tell apart
        try:
            ttl = life(_there(self._is.seconds, context))
            options = self._options(context)
            backend = _backend(options.pop("using", None))
            tags = check_tags(tags)
            if ttl == 0:
                depends_on(*tags)
                return self._plain(context)
            Policy.of({**options, "ttl": ttl})
        except (ConfigurationError, VariableDoesNotExist) as refused:
            raise TemplateSyntaxError(f"cachefence {self._is.name}: {refused}") from refused
        key = name_of(backend, fragment_key(self._is.name, vary))
        return fragment(backend.fence, key, context, self.nodelist.render, tags,
                        cast("PolicyOptions", {**options, "ttl": ttl}), vary=self._vary)

    def _vary(self, context: Context) -> tuple[object, ...]:
        return tuple([_there(each, context) for each in self._is.vary])

    def _options(self, context: Context) -> dict[str, Any]:
        return {name: _there(value, context) for name, value in self._is.given.items()}

    def _plain(self, context: Context) -> SafeString:
        with context.push():
            return self.nodelist.render(context)


def _backend(alias: object) -> RedisCache:
    if alias is None:
        alias = fragments_alias()
    _check_alias(alias)
    backend = caches[str(alias)]
    if not isinstance(backend, RedisCache):
        raise ConfigurationError(f'CACHES["{alias}"] is a {type(backend).__qualname__}: give it'
                                 ' "BACKEND": "cachefence_web.django.RedisCache", or name another alias with using=')
    return backend


def _check_alias(alias: object) -> None:
    known: Mapping[str, Any] = caches.settings
    if alias not in known:
        raise ConfigurationError(f"using is an alias of CACHES, {' or '.join(map(repr, known))}, not {alias!r}")


def _named(word: str) -> str:
    name = word[1:-1] if word[0] in "'\"" and word[-1] == word[0] and len(word) > 1 else word
    if not _NAME.fullmatch(name):
        raise TemplateSyntaxError(
            f"cachefence: a fragment's name is 1 to 100 letters, digits or . : / - _, written as it is, not {word}")
    return name


def _is_literal(expression: FilterExpression) -> bool:
    """Whether its value is written in the template."""
    var = expression.var
    return not expression.filters and (not isinstance(var, Variable) or var.lookups is None)


def _judge(name: str, expression: FilterExpression, check: Callable[[Any], object]) -> None:
    """Have a value that is written in the template checked now."""
    if not _is_literal(expression) and str(expression.var) != "None":
        return
    try:
        check(expression.resolve(Context()))
    except ConfigurationError as refused:
        raise TemplateSyntaxError(f"cachefence: {name}: {refused}") from refused


def _there(expression: FilterExpression, context: Context) -> Any:
    """The value.

    Raises:
        VariableDoesNotExist: if there is none; with a filter such as `default` it is the filter's to say.
    """
    if isinstance(expression.var, Variable) and not expression.filters:
        return expression.var.resolve(context)
    return expression.resolve(context)
