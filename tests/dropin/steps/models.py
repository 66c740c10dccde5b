from django.db import models


class Step(models.Model):
    name = models.TextField()
