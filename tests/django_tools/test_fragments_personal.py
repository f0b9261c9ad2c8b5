"""P11: a fragment that used something of the visitor, by whatever name, is shown to those alone who are told apart."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.template import Context, RequestContext, engines
from django.test import AsyncRequestFactory, RequestFactory
from django.utils.functional import SimpleLazyObject

from tests.django_tools.pages import Count, page

SUB = "{{ user.username }}{% csrf_token %}"


@pytest.fixture(autouse=True)
def on_store(configure: Any, location: str) -> None:
    configure(location)
    cache.set("the-clock-has-begun", True)


class Session(dict[str, str]):
    """A session that a request may have without any middleware."""


def asked_by(name: str) -> Any:
    """The request of somebody known in every way."""
    meta: dict[str, Any] = {"CSRF_COOKIE": name[0] * 32, "REMOTE_USER": name, "eppn": f"{name}@school.example"}
    request: Any = RequestFactory().get("/", **meta, headers={"authorization": name, "accept": f"text/{name}"})
    request.COOKIES["sid"] = request.META["HTTP_COOKIE"] = f"sid={name}"
    signed = HttpResponse()
    signed.set_signed_cookie("signed", name)
    request.COOKIES["signed"] = signed.cookies["signed"].value
    request.user, request.session = User(username=name, pk=len(name), is_superuser=True), Session(basket=name)
    request.basket = SimpleNamespace(owner=name)
    return request


def lazily(own: Callable[[], Any], *, found_out: bool) -> Any:
    made = SimpleLazyObject(own)
    if found_out:
        str(made)
    return made


def namer(user: User) -> Callable[[], str]:
    return lambda: str(user.username)


def known_by_session(request: Any) -> User:
    return User(username=request.session["basket"])


def compiled(source: str) -> Any:
    return engines["django"].from_string(source)


def nothing(request: Any) -> dict[str, Any]:
    return {}


def show(source: str, request: HttpRequest, own: Callable[[Any], dict[str, Any]] = nothing, vary: str = "") -> str:
    template = compiled(
        "{% load cachefence %}{% cachefence 60 one " + vary + " %}" + source + "{% endcachefence %}")
    return str(template.render(own(request), request))


IN_TEMPLATES = {
    "header": "{{ request.headers.authorization }}", "cookie": "{{ request.COOKIES.sid }}",
    "cookie-header": "{{ request.META.HTTP_COOKIE }}", "remote-user": "{{ request.META.REMOTE_USER }}",
    "operators-name": "{{ request.META.eppn }}", "accepted": "{{ request.accepted_types }}",
    "basket": "{{ request.basket.owner }}", "session": "{{ request.session.basket }}",
    "user": "{{ user.username }}", "user-if": "{% if user.is_authenticated %}{{ user }}{% endif %}",
    "request-user": "{{ request.user }}",
    "in-loop": "{% for each in '1' %}{{ user }}{% endfor %}",
    "in-with": "{% with u=user %}{{ u.username }}{% endwith %}",
}


@pytest.mark.parametrize("source", IN_TEMPLATES.values(), ids=list(IN_TEMPLATES))
def test_p11_what_a_template_says_of_one_visitor_is_shown_to_nobody_else(source: str) -> None:
    assert show("{{ request.path }}", asked_by("ada")) == show("{{ request.path }}", asked_by("eve"))
    cache.clear()
    for vary in ("", "1", "request.path"):
        assert "ada" in show(source, asked_by("ada"), vary=vary)
        assert "eve" in show(source, asked_by("eve"), vary=vary)


OWN_NAMES: dict[str, tuple[str, Callable[[Any], dict[str, Any]]]] = {
    "user": ("{{ me.username }}", lambda request: {"me": request.user}),
    "session": ("{{ kept.basket }}", lambda request: {"kept": request.session}),
    "request": ("{{ asked.user }}", lambda request: {"asked": request}),
    "lazy-user": ("{{ me }}", lambda request: {"me": lazily(lambda: request.user, found_out=False)}),
    "lazy-user-known": ("{{ me }}", lambda request: {"me": lazily(lambda: request.user, found_out=True)}),
    "lazy-request": ("{{ asked.user }}", lambda request: {"asked": lazily(lambda: request, found_out=True)}),
    "view": ("{{ view.request.user.username }}", lambda request: {"view": SimpleNamespace(request=request)}),
    "view-basket": ("{{ view.request.basket.owner }}", lambda request: {"view": SimpleNamespace(request=request)}),
    "holder": ("{{ form.user.username }}", lambda request: {"form": SimpleNamespace(user=request.user)}),
    "in-dict": ("{{ layout.user }}", lambda request: {"layout": {"user": request.user}}),
    "in-list": ("{{ people.0 }}", lambda request: {"people": [request.user]}),
    "method": ("{{ name }}", lambda request: {"name": request.user.get_username}),
    "closure": ("{{ name }}", lambda request: {"name": lambda: request.user.username}),
    "closure-of-user": ("{{ name }}", lambda request: {"name": namer(request.user)}),
    "default": ("{{ name }}", lambda request: {"name": lambda user=request.user: user.username}),
    "partial": ("{{ name }}", lambda request: {"name": partial(getattr, request.user, "username")}),
    "meta": ("{{ meta.REMOTE_USER }}", lambda request: {"meta": request.META}),
    "cookies": ("{{ cookies.sid }}", lambda request: {"cookies": request.COOKIES}),
    "headers-method": ("{{ sent }}", lambda request: {"sent": partial(request.headers.get, "accept")}),
}


@pytest.mark.parametrize(("source", "own"), OWN_NAMES.values(), ids=list(OWN_NAMES))
def test_p11_a_views_own_name_for_the_visitor_hides_nothing(
    source: str, own: Callable[[Any], dict[str, Any]]
) -> None:
    assert "ada" in show(source, asked_by("ada"), own)
    assert "eve" in show(source, asked_by("eve"), own)


def test_p11_what_one_visitor_may_do_is_shown_to_nobody_else() -> None:
    nobody = asked_by("eve")
    nobody.user = AnonymousUser()
    source = "{% if perms.shop %}staff{% endif %}"
    assert [show(source, asked_by("ada")), show(source, nobody)] == ["staff", ""]


def test_p11_a_view_without_a_context_of_the_request_hides_nothing() -> None:
    once = page("{% cachefence 60 one %}{{ view.request.user }}{% endcachefence %}")
    assert [once(view=SimpleNamespace(request=asked_by(name))) for name in ("ada", "eve")] == ["ada", "eve"]


@pytest.mark.parametrize("outside", ["with u=user", "with u=request", "with u=view"])
def test_p11_a_name_given_outside_of_the_fragment_hides_nothing(outside: str) -> None:
    inside = {"with u=user": "u", "with u=request": "u.user", "with u=view": "u.request.user"}[outside]
    template = compiled(
        "{% load cachefence %}{% " + outside + " %}{% cachefence 60 one %}{{ " + inside
        + " }}{% endcachefence %}{% endwith %}")
    for name in ("ada", "eve"):
        request = asked_by(name)
        assert template.render({"view": SimpleNamespace(request=request)}, request) == name


TAGS: dict[str, Callable[[Any], str]] = {
    "context-request": lambda context: str(context.request.user),
    "context-item": lambda context: str(context["request"].user),
    "signed-cookie": lambda context: str(context.request.get_signed_cookie("signed")),
    "basket": lambda context: str(context.request.basket.owner),
    "all-fields": lambda context: str(dict(context.request.META)["REMOTE_USER"]),
    "all-headers": lambda context: str(dict(context.request.headers)),
    "environ": lambda context: str(context.request.environ["REMOTE_USER"]),
    "sub-template": lambda context: str(compiled(SUB).render({}, context["request"])),
    "sub-template-raw": lambda context: str(compiled(SUB).render({}, context.request)),
}


@pytest.mark.parametrize("tag", TAGS.values(), ids=list(TAGS))
def test_p11_what_a_tag_takes_from_the_request_is_noted(tag: Callable[[Any], str]) -> None:
    assert "ada" in shown_by(tag, asked_by("ada"))
    assert "eve" in shown_by(tag, asked_by("eve"))


def shown_by(tag: Callable[[Any], str], request: HttpRequest) -> str:
    """A fragment in which a tag that takes the context does this."""
    template = compiled("{% load cachefence %}{% cachefence 60 one %}{{ n }}{% endcachefence %}")
    fragment: Any = next(node for node in template.template.nodelist if hasattr(node, "nodelist"))
    fragment.nodelist[0].render_annotated = tag
    return str(template.render({"n": ""}, request))


@pytest.mark.parametrize("tag", [
    lambda context: get_token(context["request"]), lambda context: get_token(context.request),
    lambda context: compiled("{% csrf_token %}").render({}, context["request"]),
], ids=["token", "token-raw", "form"])
def test_p11_a_token_that_a_tag_makes_is_shown_once_whatever_the_fragment_varies_on(tag: Any) -> None:
    assert len({shown_by(tag, asked_by(name)) for name in ("ada", "eve")}) == 2
    request = asked_by("ada")
    assert shown_by(tag, request) != shown_by(tag, request)
    assert request.META["CSRF_COOKIE_NEEDS_UPDATE"]


def test_p11_a_token_by_another_name_is_the_token() -> None:
    source = ("{% load cachefence %}{% with t=csrf_token %}{{ t }}{% cachefence 60 one user.pk %}{{ t }}"
              "{% endcachefence %}{% endwith %}")
    template = compiled(source)
    made = [template.render({}, asked_by("ada")) for _ in range(2)]
    assert all(text[:len(text) // 2] * 2 == text for text in made)
    assert made[0] != made[1]


@pytest.mark.parametrize(("vary", "source", "own"), [
    ("user.pk", "{{ user.username }}{{ n }}", nothing), ("request.user.pk", "{{ user }}{{ n }}", nothing),
    ("user", "{{ request.user }}{% if perms.shop %}{% endif %}{{ n }}", nothing),
    ("me.pk", "{{ user }}{{ n }}", lambda request: {"me": request.user}),
    ("request.session.basket", "{{ request.session.basket }}{{ n }}", nothing),
    ("request.COOKIES.sid", "{{ request.COOKIES.sid }}{{ n }}", nothing),
    ("request.headers.accept", "{{ request.META.HTTP_ACCEPT }}{{ n }}", nothing),
    ("request.basket.owner", "{{ request.basket.owner }}{{ n }}", nothing),
    ("", "{{ request.path }}{{ request.get_host }}{{ request.is_secure }}{{ request.method }}{{ n }}", nothing),
    ("", "{{ view.kind }}{{ n }}", lambda request: {"view": SimpleNamespace(request=request, kind="list")}),
], ids=["user", "through-request", "user-itself", "own-name", "session", "cookie", "header", "basket", "address",
        "view"])
def test_a_fragment_is_kept_for_each_of_those_it_is_told_to_tell_apart(
    vary: str, source: str, own: Callable[[Any], dict[str, Any]]
) -> None:
    n = Count()
    for _ in range(2):
        show(source, asked_by("ada"), lambda request: {**own(request), "n": n}, vary)
    assert n.times == 1


@pytest.mark.parametrize(("vary", "source"), [
    ("user.pk", "{{ request.session.basket }}"), ("request.session.basket", "{{ user }}"),
    ("user.pk", "{{ request.headers.authorization }}"), ("user.pk", "{{ request.basket.owner }}"),
    ("request.COOKIES.other|default:1", "{{ request.COOKIES.sid }}"),
], ids=["session", "user", "header", "basket", "cookie"])
def test_p11_telling_visitors_apart_by_one_thing_permits_no_other(vary: str, source: str) -> None:
    n = Count()
    for _ in range(2):
        show(source + "{{ n }}", asked_by("ada"), lambda request: {"n": n}, vary)
    assert n.times == 2


def test_p11_a_lazy_user_that_the_session_tells_permits_the_user_and_not_the_session() -> None:
    n = Count()
    for source, times in (("{{ user }}{{ n }}", 1), ("{{ user }}{{ request.session.basket }}{{ n }}", 3)):
        cache.clear()
        for _ in range(2):
            request = asked_by("ada")
            request.user = SimpleLazyObject(partial(known_by_session, request))
            show(source, request, lambda request: {"n": n}, "user.username")
        assert n.times == times


def test_p11_a_fragment_around_one_that_names_its_visitor_is_kept_from_others() -> None:
    inner = "{% cachefence 60 two user.pk %}{{ user.username }}{% endcachefence %}"
    assert [show(inner, asked_by(name)) for name in ("ada", "evelyn", "ada")] == ["ada", "evelyn", "ada"]
    assert [show(inner, asked_by(name), vary="user.pk") for name in ("ada", "evelyn", "ada")] == [
        "ada", "evelyn", "ada"]


def test_p11_an_asynchronous_servers_own_account_of_the_request_is_the_visitors() -> None:
    for name in (b"ada", b"eve"):
        request: Any = AsyncRequestFactory().get("/")
        request.scope["headers"].append((b"x-name", name))
        assert name.decode() in show("{{ request.scope.headers }}", request)


def test_p11_what_a_fragment_raises_of_a_visitor_is_not_raised_to_another() -> None:
    ada_is_in, go_on = threading.Event(), threading.Event()

    def own(request: Any) -> dict[str, Any]:
        def greet() -> str:
            name = str(request.user)
            if name == "ada":
                ada_is_in.set()
                assert go_on.wait(20)
                raise LookupError("the account of ada is broken")
            return name

        return {"greet": greet}

    with ThreadPoolExecutor(2) as pool:
        ada = pool.submit(show, "{{ greet }}", asked_by("ada"), own)
        assert ada_is_in.wait(20)
        eve = pool.submit(show, "{{ greet }}", asked_by("eve"), own)
        go_on.set()
        with pytest.raises(LookupError, match="ada"):
            ada.result(20)
        assert eve.result(20) == "eve"


def test_the_request_and_the_context_have_their_own_again_after_a_fragment() -> None:
    request = asked_by("ada")
    before = dict(vars(request))
    context = RequestContext(request, {"view": SimpleNamespace(request=request)})
    template = compiled(
        "{% load cachefence %}{% cachefence 60 one %}{{ view.request.META.HTTP_COOKIE }}{{ user }}{% endcachefence %}")
    template.template.render(context)
    after = vars(request)
    assert {name: after[name] is own for name, own in before.items()} == dict.fromkeys(before, True)
    assert context.request is request
    assert type(after["META"]) is dict


def test_a_fragment_that_asks_lazily_for_nothing_finds_nothing_out() -> None:
    request = asked_by("ada")

    def never() -> Any:
        raise AssertionError("nobody has asked for the user")

    request.user = SimpleLazyObject(never)
    own = {"me": request.user, "other": SimpleLazyObject(never), "view": SimpleNamespace(request=request)}
    template = compiled("{% load cachefence %}{% cachefence 60 one %}page{% endcachefence %}")
    assert template.template.render(Context({**own, "request": request})) == "page"
