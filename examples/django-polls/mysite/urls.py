"""The URLs of the whole site."""

from django.contrib import admin
from django.contrib.staticfiles.views import serve
from django.urls import include, path, re_path

urlpatterns = [
    path("", include("polls.urls")),
    path("", include("lab.urls")),
    path("", include("live.urls")),
    path("admin/", admin.site.urls),
    # `insecure` lets Django itself serve static files without DEBUG, which is good enough for a demo and for nothing
    # else: `hurricane serve --static` serves those of STATIC_ROOT without asking Python.
    re_path(r"^static/(?P<path>.*)$", serve, {"insecure": True}),
]
