import os
import sys
import threading

from django.http import HttpResponse, JsonResponse
from django.urls import path

from dropin import counting


def index(request):
    return HttpResponse("It works.")


def process(request):
    """What this process is, for tests to look at."""
    slots = [thread for thread in threading.enumerate() if thread.name.startswith("hurricane-wsgi")]
    return JsonResponse({"pid": os.getpid(), "parent": os.getppid(), "path": sys.path, "python": sys.executable,
                         "threads": len(slots)})


def grow(request):
    """Keeps some megabytes for ever."""
    KEPT.append(bytearray(os.urandom(1 << 20) * 8))
    return HttpResponse(str(os.getpid()))


KEPT = []

urlpatterns = [
    path("", index),
    path("count", counting.count),
    path("grow", grow),
    path("process", process),
]
