"""Pages that stay connected: votes as they come in, and a chat. They need ASGI."""

import asyncio
import json

from django.core.handlers.asgi import ASGIRequest
from django.db.models import Sum
from django.http import HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe
from polls.models import Question

# How often it is looked whether somebody has voted (seconds).
LOOK = 0.5


@require_safe
async def index(request):
    """The votes; an asynchronous view from the query to the template's data."""
    return render(request, "live/index.html", {"questions": await counts()})


@require_safe
async def chat(request):
    return render(request, "live/chat.html")


@require_safe
async def events(request):
    """Server-sent events: all counts at first, and then again whenever one has changed."""
    if not isinstance(request, ASGIRequest):
        # Under WSGI a stream without end would hold a thread, and Django would wait for all of it first.
        text = "This needs ASGI: start with --interface asgi, or hybrid and --async-path /live/events\n"
        return HttpResponse(text, status=501, content_type="text/plain; charset=utf-8")

    async def stream():
        told = None
        while True:
            now = await counts()
            if now != told:
                told = now
                yield f"data: {json.dumps(now)}\n\n"
            await asyncio.sleep(LOOK)

    return StreamingHttpResponse(stream(), content_type="text/event-stream", headers={"Cache-Control": "no-store"})


async def counts():
    questions = Question.objects.published().annotate(total=Sum("choices__votes", default=0))
    return [{"id": question.pk, "text": question.text, "votes": question.total} async for question in questions]
