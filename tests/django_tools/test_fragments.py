"""`{% cachefence %}`: a fragment is rendered once, hands its tags upward, and keeps to itself what is personal."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from math import inf as ENDLESS  # noqa: N812 (a constant)
from time import monotonic
from types import SimpleNamespace
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from django.template import Context, Engine, RequestContext, Template, TemplateSyntaxError, engines
from django.template.backends.django import Template as BackendTemplate
from django.template.response import TemplateResponse
from django.test import RequestFactory

from cachefence_web.django import cache_view
from cachefence_web.django.fragments import fragment_key
from tests.django_tools.pages import Count, page


@pytest.fixture(autouse=True)
def on_store(configure: Any, location: str) -> None:
    configure(location)
    cache.set("the-clock-has-begun", True)


def test_a_fragment_is_rendered_once_and_stays_escaped_once() -> None:
    show = page("{% cachefence 60 one %}<b>{{ n }}{{ text }}</b>{% endcachefence %}")
    assert {show(n=Count(), text="<i>") for _ in range(3)} == {"<b>n1&lt;i&gt;</b>"}
    n = Count()
    assert show(n=n, text="") == "<b>n1&lt;i&gt;</b>"
    assert n.times == 0


def test_a_fragment_is_one_for_each_of_what_it_varies_on() -> None:
    show = page("{% cachefence 60 one a b %}{{ a }},{{ b }}{% endcachefence %}")
    pairs = [("x", "y"), ("xy", ""), ("", "xy"), ("x:1", "y"), ("x", "1:y"), (None, "y"), (1, 2)]
    assert [show(a=a, b=b) for a, b in pairs] == [f"{a},{b}" for a, b in pairs]
    assert [show(a=a, b=b) for a, b in pairs] == [f"{a},{b}" for a, b in pairs]


def test_what_should_tell_visitors_apart_and_is_not_there_keeps_a_fragment_from_being_stored() -> None:
    show = page("{% cachefence 60 one user.pk %}{{ n }}{% endcachefence %}")
    n = Count()
    assert [show(n=n), show(n=n)] == ["n1", "n2"]
    show = page('{% cachefence 60 one user.pk|default:"nobody" %}{{ n }}{% endcachefence %}')
    assert [show(n=n), show(n=n)] == ["n3", "n3"]


@pytest.mark.parametrize(("seconds", "stored"), [
    ("60", 60), ("60.5", 60.5), ("None", ENDLESS), ("life", 90), ('"60"', 60), ("0", None), ("-1", None)],
    ids=["whole", "fraction", "none", "variable", "text", "zero", "negative"])
def test_seconds_are_djangos_timeout(seconds: str, stored: float | None) -> None:
    """stored: for how many seconds, if at all."""
    show, n = page(f"{{% cachefence {seconds} one %}}{{{{ n }}}}{{% endcachefence %}}"), Count()
    began = monotonic()
    assert [show(n=n, life=90), show(n=n, life=90)] == (["n1", "n1"] if stored else ["n1", "n2"])
    found = cache.fence.peek(cache.make_key(fragment_key("one")))
    passed = monotonic() - began
    left = None if found is None else ENDLESS if found.remaining is None else found.remaining
    assert left == stored if stored in (None, ENDLESS) else stored - 2 * passed - 0.01 <= left <= stored


def test_many_threads_that_ask_at_once_render_once() -> None:
    show = page("{% cachefence 60 one %}{{ slow }}{% endcachefence %}")
    begun, others = threading.Event(), threading.Barrier(8)

    class Slow(Count):
        def __str__(self) -> str:
            begun.set()
            others.wait(20)
            return super().__str__()

    slow, quick = Slow(), Count("wrong")

    def ask() -> str:
        begun.wait(20)
        others.wait(20)
        return show(slow=quick)

    with ThreadPoolExecutor(8) as pool:
        led = pool.submit(show, slow=slow)
        asked = [pool.submit(ask) for _ in range(7)]
        assert {each.result(20) for each in [led, *asked]} == {"n1"}
    assert quick.times == 0


def test_an_exception_is_raised_and_nothing_is_stored() -> None:
    show = page("{% cachefence 60 one %}{{ fail }}{% endcachefence %}")

    def fail() -> str:
        raise LookupError("no")

    with pytest.raises(LookupError):
        show(fail=fail)


@pytest.mark.parametrize(("tags", "named"), [
    ('"book:7"', "book:7"), ('"a book:7"', "book:7"), ('"book:{book.pk}"', "book:7"), ("several", "book:7"),
    ("one", "book:7"), ('"x:{book.title|lower}"', "x:emma%20b"), ('"x:{key.name}"', "x:v"),
    ('"book:"|add:"7"', "book:7"), ('prefix|add:"7"', "book:7"), ("several|add:more", "d"), ("key.tags", "book:7"),
    ('none|default:"book:7"', "book:7")],
    ids=["text", "two", "field", "list", "variable", "filter", "lookup", "added", "added-to", "lists", "path",
         "default"])
def test_tags_may_be_given_as_a_text_or_a_list(tags: str, named: str) -> None:
    show, n = page(f"{{% cachefence 60 one tags={tags} %}}{{{{ n }}}}{{% endcachefence %}}"), Count()
    values = {"book": SimpleNamespace(pk=7, title="Emma B"), "several": ["book:7", "c"], "one": "c book:7",
              "key": {"name": "v", "tags": ("book:7",)}, "prefix": "book:", "more": ["d"], "none": None}
    assert [show(n=n, **values), show(n=n, **values)] == ["n1", "n1"]
    cache.invalidate_tags("other", "book:8")
    assert show(n=n, **values) == "n1"
    cache.invalidate_tags(named)
    assert show(n=n, **values) == "n2"


def test_tags_of_what_is_not_there_keep_a_fragment_from_being_stored() -> None:
    show, n = page('{% cachefence 60 one tags="book:{book.pk}" %}{{ n }}{% endcachefence %}'), Count()
    assert [show(n=n), show(n=n)] == ["n1", "n2"]


NESTED = ("{% cachefence 60 outer tags='out' %}{{ outer }}"
          "{% cachefence 60 inner tags='in' %}{{ inner }}{% endcachefence %}{% endcachefence %}")


@pytest.mark.parametrize("warm", [False, True], ids=["rendered", "found"])
def test_a_nested_fragment_hands_its_tags_to_the_one_around(warm: bool) -> None:
    show, outer, inner = page(NESTED), Count("o"), Count("i")
    if warm:
        page("{% cachefence 60 inner tags='in' %}{{ inner }}{% endcachefence %}")(inner=inner)
    assert show(outer=outer, inner=inner) == "o1i1"
    cache.invalidate_tags("out")
    assert show(outer=outer, inner=inner) == "o2i1"
    cache.invalidate_tags("in")
    assert show(outer=outer, inner=inner) == "o3i2"
    assert show(outer=outer, inner=inner) == "o3i2"


def test_a_fragment_that_names_no_tags_takes_over_those_of_the_one_around() -> None:
    show, n = page("{% cachefence 60 outer tags='out' %}{{ o }}{% cachefence 60 inner %}{{ n }}{% endcachefence %}"
                   "{% endcachefence %}"), Count()
    show(n=n)
    cache.invalidate_tags("out")
    assert show(n=n) == "n2"


def test_a_nested_fragment_that_is_shown_stale_keeps_the_one_around_from_being_stored() -> None:
    inner = "{% cachefence 60 inner tags='in' stale_for=60 %}{{ inner }}{% endcachefence %}"
    alone, around = page(inner), page("{% cachefence 60 outer %}{{ outer }}" + inner + "{% endcachefence %}")
    alone(inner="old")
    cache.fence.expire_tags("in")
    begun, shown = threading.Event(), threading.Event()

    class Slow(Count):
        def __str__(self) -> str:
            begun.set()
            assert shown.wait(20)
            return "new"

    outer = Count("o")
    with ThreadPoolExecutor(1) as pool:
        refreshed = pool.submit(alone, inner=Slow())
        try:
            assert begun.wait(20)
            assert around(outer=outer, inner="wrong") == "o1old"
        finally:
            shown.set()
        assert refreshed.result(20) == "new"
    assert [around(outer=outer, inner="wrong"), around(outer=outer, inner="wrong")] == ["o2new", "o2new"]


def test_fragments_in_a_loop_and_an_included_template_stand_alone_and_make_up_the_one_around() -> None:
    engine = Engine(loaders=[("django.template.loaders.locmem.Loader", {
        "list": "{% load cachefence %}{% cachefence 60 list %}{% for book in books %}{% include 'book' %}{% endfor %}"
                "{% endcachefence %}",
        "book": "{% load cachefence %}{% cachefence 60 book book.pk tags='book:{book.pk}' %}{{ book.shown }} "
                "{% endcachefence %}",
    })], libraries={"cachefence": "cachefence_web.django.templatetags.cachefence"})
    books = [SimpleNamespace(pk=number, shown=Count(f"b{number}.")) for number in range(3)]
    show = partial(engine.get_template("list").render, Context({"books": books}))
    assert [show(), show()] == ["b0.1 b1.1 b2.1 "] * 2
    cache.invalidate_tags("book:1")
    assert [show(), show()] == ["b0.1 b1.2 b2.1 "] * 2


@pytest.mark.parametrize("way", ["rendered-later", "in-a-thread-of-a-loop"])
def test_a_page_carries_the_tags_of_its_fragments_however_it_is_rendered(way: str) -> None:
    template = Template("{% load cachefence %}{% cachefence 60 one tags='in' %}x{% endcachefence %}{{ n }}")
    n = Count()

    def later(request: HttpRequest) -> HttpResponse:
        return TemplateResponse(request, BackendTemplate(template, engines["django"]), {"n": n})

    async def threaded(request: HttpRequest) -> HttpResponse:
        return HttpResponse(await sync_to_async(template.render)(Context({"n": n})))

    view: Any = cache_view(ttl=60)(later if way == "rendered-later" else threaded)

    def get() -> str:
        request = RequestFactory().get("/", headers={"host": "shop.example"})
        response = view(request) if way == "rendered-later" else async_to_sync(view)(request)
        return str((response.render() if hasattr(response, "render") else response).content.decode())

    assert [get(), get()] == ["xn1", "xn1"]
    cache.invalidate_tags("in")
    assert [get(), get()] == ["xn2", "xn2"]


@pytest.mark.parametrize("seconds", ["60", "0"], ids=["stored", "not-stored"])
def test_a_fragment_hands_its_tags_to_the_cached_view_around(seconds: str) -> None:
    show, n = page(f"{{% cachefence {seconds} one tags='in' %}}x{{% endcachefence %}}{{{{ n }}}}"), Count()
    view = cache_view(ttl=60)(lambda request: HttpResponse(show(n=n)))

    def get() -> str:
        response: HttpResponse = view(RequestFactory().get("/", headers={"host": "shop.example"}))
        return response.content.decode()

    assert [get(), get()] == ["xn1", "xn1"]
    cache.invalidate_tags("in")
    assert get() == "xn2"


def test_a_fragment_in_a_cached_view_carries_what_the_view_had_read() -> None:
    show, n = page("{% cachefence 60 one %}{{ n }}{% endcachefence %}"), Count()

    @cache_view(ttl=60, tags=["view"])
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(show(n=n))

    view(RequestFactory().get("/", headers={"host": "shop.example"}))
    assert show(n=n) == "n1"
    cache.invalidate_tags("view")
    assert show(n=n) == "n2"


def test_outside_and_inside_see_the_same_on_a_hit_and_on_a_miss() -> None:
    show = page("{% cachefence 60 one %}{% cycle 'a' 'b' as letter %}{% endcachefence %}[{{ letter }}]")
    assert [show(), show()] == ["a[]", "a[]"]


def test_blocks_and_included_templates_work_inside_and_around() -> None:
    engine = Engine(loaders=[("django.template.loaders.locmem.Loader", {
        "base": "{% load cachefence %}{% cachefence 60 base %}<{% block body %}b{{ n }}{% endblock %}>"
                "{% endcachefence %}",
        "child": "{% extends 'base' %}{% block body %}c{{ block.super }}{% include 'part' %}{% endblock %}",
        "part": "{% load cachefence %}{% cachefence 60 part tags='part' %}p{{ n }}{% endcachefence %}",
    })], libraries={"cachefence": "cachefence_web.django.templatetags.cachefence"})
    n = Count()
    show = partial(engine.get_template("child").render, Context({"n": n}))
    assert [show(), show()] == ["<cbn1pn2>", "<cbn1pn2>"]
    cache.invalidate_tags("part")
    assert show() == "<cbn3pn4>"


def test_p11_a_token_that_was_shown_before_the_fragment_is_noticed_in_it(rf: RequestFactory) -> None:
    template = Template("{% load cachefence %}{% csrf_token %}"
                        "{% cachefence 60 one %}{% csrf_token %}{% endcachefence %}")
    pages = [template.render(RequestContext(rf.get("/"))) for _ in range(2)]
    assert all(page[:len(page) // 2] * 2 == page for page in pages)
    assert pages[0] != pages[1]


def test_p11_a_fragment_around_one_that_is_personal_is_personal() -> None:
    n = Count()
    show = page("{% cachefence 60 outer %}{{ n }}{% cachefence 60 inner %}{{ user }}{% endcachefence %}"
                "{% endcachefence %}")
    assert [show(n=n, user="a"), show(n=n, user="b")] == ["n1a", "n2b"]


def test_a_fragment_can_be_deleted_by_its_name_and_what_it_varies_on() -> None:
    show, n = page("{% cachefence 60 one 7 %}{{ n }}{% endcachefence %}"), Count()
    show(n=n)
    assert cache.delete(fragment_key("one", [7])) is True
    assert show(n=n) == "n2"


def test_another_alias_may_be_named(settings: Any, namespace: str) -> None:
    ours = settings.CACHES["default"]
    settings.CACHES = {**settings.CACHES, "template_fragments": {
        **ours, "OPTIONS": {**ours["OPTIONS"], "namespace": f"{namespace}.f"}}}
    page("{% cachefence 60 one %}x{% endcachefence %}")()
    assert cache.delete(fragment_key("one")) is False
    page("{% cachefence 60 one using='default' %}x{% endcachefence %}")()
    assert cache.delete(fragment_key("one")) is True


def test_a_store_that_is_away_costs_nothing_but_the_rendering(configure: Any) -> None:
    configure("redis://127.0.0.1:1")
    show, n = page(NESTED), Count()
    assert [show(outer=n, inner=""), show(outer=n, inner="")] == ["n1", "n2"]


@pytest.mark.parametrize(("arguments", "says"), [
    ("", "needs seconds and a name"), ("60", "needs seconds and a name"), ("60 tags='a'", "needs seconds and a name"),
    ("soon! one", "Could not parse"), ("'soon' one", "a number of seconds"), ("60 one|upper", "a fragment's name"),
    ("60 one tag='a'", "did you mean tags"), ("60 one nonsense='a'", "it takes tags, using"),
    ("60 one tags='a' b", "before what has one"), ("60 one tags='a' tags='b'", "tags twice"),
    ("60 one tags='a*b'", "reserved"), ("60 one tags=7", "a list or a text"),
    ("60 one tags='b:{x!}'", "Could not parse"),
    ("60 one tags='b:{}'", "an empty field"), ("60 one tags='b:{x'", "does not parse"),
    ("60 one stale_for=-1", "positive number"), ("60 one jitter=2", "from 0 to 1"), ("60 one ttl=5", "takes no ttl"),
    ("60 one using='nowhere'", "is an alias of CACHES"), ("60 one stale_for=1 stale_for=2", "stale_for twice"),
], ids=str)
def test_bad_arguments_are_told_when_the_template_is_compiled(arguments: str, says: str) -> None:
    with pytest.raises(TemplateSyntaxError, match=says):
        page(f"{{% cachefence {arguments} %}}x{{% endcachefence %}}")


def test_a_tag_without_an_end_is_told_when_the_template_is_compiled() -> None:
    with pytest.raises(TemplateSyntaxError, match="endcachefence"):
        page("{% cachefence 60 one %}x")


@pytest.mark.parametrize(("arguments", "values"), [
    ("life one", {"life": "soon"}), ("life one", {}), ("60 one tags=t", {"t": 7}), ("60 one tags=t", {"t": ["a b"]}),
    ("60 one stale_for=s", {"s": -1}), ("60 one using=u", {"u": "nowhere"})],
    ids=["seconds", "no-seconds", "tags", "tag", "option", "alias"])
def test_bad_values_are_told_when_the_page_is_rendered(arguments: str, values: dict[str, Any]) -> None:
    with pytest.raises(TemplateSyntaxError, match="cachefence one"):
        page(f"{{% cachefence {arguments} %}}x{{% endcachefence %}}")(**values)
