"""Questions and the choices one can vote for."""

from django.db import models
from django.db.models import F
from django.urls import reverse
from django.utils import timezone


class QuestionQuerySet(models.QuerySet):
    def published(self):
        """Leaves out the questions whose time has not come."""
        return self.filter(published_at__lte=timezone.now())


class Question(models.Model):
    text = models.CharField(max_length=200)
    published_at = models.DateTimeField(default=timezone.now, db_index=True)

    objects = QuestionQuerySet.as_manager()

    class Meta:
        ordering = ["-published_at", "-id"]

    def __str__(self):
        return self.text

    def get_absolute_url(self):
        return reverse("polls:detail", args=[self.pk])


class Choice(models.Model):
    question = models.ForeignKey(Question, on_delete=models.CASCADE, related_name="choices")
    text = models.CharField(max_length=200)
    votes = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ["id"]

    def __str__(self):
        return self.text

    def add_vote(self):
        """Counts one vote in the database, so that two voters at once are two votes."""
        Choice.objects.filter(pk=self.pk).update(votes=F("votes") + 1)
