"""The admin pages of questions and choices."""

from django.contrib import admin
from django.db.models import Sum

from .models import Choice, Question


class ChoiceInline(admin.TabularInline):
    model = Choice
    extra = 1


@admin.register(Question)
class QuestionAdmin(admin.ModelAdmin):
    date_hierarchy = "published_at"
    inlines = [ChoiceInline]
    list_display = ["text", "published_at", "total_votes"]
    search_fields = ["text"]

    def get_queryset(self, request):
        return super().get_queryset(request).annotate(total_votes=Sum("choices__votes", default=0))

    @admin.display(description="votes", ordering="total_votes")
    def total_votes(self, question):
        return question.total_votes


@admin.register(Choice)
class ChoiceAdmin(admin.ModelAdmin):
    autocomplete_fields = ["question"]
    list_display = ["text", "question", "votes"]
    list_select_related = ["question"]
    search_fields = ["text", "question__text"]
