"""The paths of the lab, all at the root of the site."""

from django.urls import path

from . import views

app_name = "lab"

urlpatterns = [
    path("hello", views.hello, name="hello"),
    path("slow", views.slow, name="slow"),
    path("burn", views.burn, name="burn"),
    path("gil", views.gil, name="gil"),
    path("stream", views.stream, name="stream"),
    path("download", views.download, name="download"),
    path("upload", views.upload, name="upload"),
    path("echo", views.echo, name="echo"),
    path("headers", views.headers, name="headers"),
    path("crash", views.crash, name="crash"),
    path("exit", views.leave, name="exit"),
    path("cookies", views.cookies, name="cookies"),
    path("status/<int:code>", views.status, name="status"),
]
