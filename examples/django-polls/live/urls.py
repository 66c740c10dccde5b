"""The live pages."""

from django.urls import path

from . import views

app_name = "live"

urlpatterns = [
    path("live/", views.index, name="index"),
    path("live/events", views.events, name="events"),
    path("chat/", views.chat, name="chat"),
]
