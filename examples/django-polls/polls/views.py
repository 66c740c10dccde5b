"""Shows the questions, takes the votes, shows the results."""

from django.contrib import messages
from django.db.models import Sum
from django.http import JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from .models import Choice, Question

# The session's key for a dict from a question's id to the id of the choice that this visitor took. Both are text, as
# the keys of a JSON object are.
VOTED = "voted"


@require_safe
def index(request):
    questions = Question.objects.published().annotate(total_votes=Sum("choices__votes", default=0))
    voted = {int(pk) for pk in request.session.get(VOTED, {})}
    return render(request, "polls/index.html", {"questions": questions, "voted": voted})


@require_safe
def detail(request, pk):
    question = get_object_or_404(Question.objects.published(), pk=pk)
    if _choice_taken(request, question):
        return redirect("polls:results", pk=pk)
    return render(request, "polls/detail.html", {"question": question})


@require_POST
def vote(request, pk):
    question = get_object_or_404(Question.objects.published(), pk=pk)
    if _choice_taken(request, question):
        messages.warning(request, "You have had your say on this one already.")
        return redirect("polls:results", pk=pk)
    try:
        choice = question.choices.get(pk=request.POST.get("choice"))
    except (Choice.DoesNotExist, ValueError):
        messages.error(request, "Pick one of the answers first.")
        return redirect(question)

    choice.add_vote()
    request.session[VOTED] = {**request.session.get(VOTED, {}), str(question.pk): str(choice.pk)}
    messages.success(request, "Thank you, your vote is in.")
    return redirect("polls:results", pk=pk)


@require_safe
def results(request, pk):
    question = get_object_or_404(Question.objects.published(), pk=pk)
    choices = list(question.choices.order_by("-votes", "id"))
    total = sum(choice.votes for choice in choices)
    taken = _choice_taken(request, question)
    rows = [
        {
            "choice": choice,
            "percent": round(100 * choice.votes / total) if total else 0,
            "mine": str(choice.pk) == taken,
        }
        for choice in choices
    ]
    return render(
        request, "polls/results.html", {"question": question, "rows": rows, "total": total, "has_voted": bool(taken)}
    )


@require_safe
def api_questions(request):
    questions = Question.objects.published().prefetch_related("choices")
    return JsonResponse({"questions": [_question_as_json(question) for question in questions]})


def _choice_taken(request, question):
    return request.session.get(VOTED, {}).get(str(question.pk))


def _question_as_json(question):
    return {
        "id": question.pk,
        "text": question.text,
        "published_at": question.published_at,
        "url": question.get_absolute_url(),
        "choices": [{"id": choice.pk, "text": choice.text, "votes": choice.votes} for choice in question.choices.all()],
    }
