"""What a project can see of the server."""
import os
import threading
import time
from pathlib import Path

from django.core.signals import request_finished
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse

MADE, FINISHED = [], []


class Counting:
    """Knows how often middleware is made."""

    def __init__(self, get_response):
        MADE.append(self)
        self.get_response = get_response

    def __call__(self, request):
        return self.get_response(request)


def finished(**kwargs):
    FINISHED.append(threading.current_thread().name)


request_finished.connect(finished)


def meta(request):
    """The request as it has come."""
    texts = {name: value for name, value in request.META.items() if isinstance(value, str)}
    return JsonResponse({**texts, "method": request.method, "scheme": request.scheme, "body": request.body.decode(),
                         "made": len(MADE), "finished": FINISHED, "thread": threading.current_thread().name})


async def later(request):
    return HttpResponse("later")


def stream(request):
    """Two pieces; the second when a file is there."""
    def pieces():
        yield "first\n"
        while not (Path(os.environ["TEST_DIR"]) / "go").exists():
            time.sleep(0.01)
        yield "second\n"
    return StreamingHttpResponse(pieces())


def nothing(request):
    return HttpResponse("a body that must not be", status=204, headers={"Server": "the project's"})
