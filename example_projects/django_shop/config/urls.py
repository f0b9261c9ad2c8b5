"""Where the shop, its admin and the probe live."""

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import include, path


def health(request: HttpRequest) -> HttpResponse:
    return HttpResponse("open", content_type="text/plain")


urlpatterns = [
    path("", include("shop.urls")),
    path("admin/", admin.site.urls),
    path("health", health),
]
