import os
import sys
import threading

from django.http import HttpResponse, JsonResponse
from django.urls import path


def index(request):
    return HttpResponse("It works.")


def process(request):
    """What this process is, for tests to look at."""
    slots = [thread for thread in threading.enumerate() if thread.name.startswith("hurricane-wsgi")]
    return JsonResponse({"pid": os.getpid(), "parent": os.getppid(), "path": sys.path, "python": sys.executable,
                         "threads": len(slots)})


urlpatterns = [
    path("", index),
    path("process", process),
]
