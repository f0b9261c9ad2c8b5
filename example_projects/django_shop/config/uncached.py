"""What --no-cache switches on: every visitor asks that nothing be kept, so the cache steps aside."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse


def middleware(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    def visit(request: HttpRequest) -> HttpResponse:
        request.META["HTTP_CACHE_CONTROL"] = "no-store"
        return get_response(request)

    return visit
