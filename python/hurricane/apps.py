"""The Django application: ``'hurricane'`` in INSTALLED_APPS brings ``manage.py serve``."""
from django.apps import AppConfig


class HurricaneConfig(AppConfig):
    name = "hurricane"
    verbose_name = "Hurricane"
