"""The configuration of the lab app."""

from django.apps import AppConfig


class LabConfig(AppConfig):
    name = "lab"
