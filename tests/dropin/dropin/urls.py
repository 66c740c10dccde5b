import os
import sys
import threading

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.http import HttpResponse, JsonResponse
from django.urls import path

from dropin import counting, web


def index(request):
    return HttpResponse("It works.")


def process(request):
    """What this process is, for tests to look at."""
    slots = [thread for thread in threading.enumerate() if thread.name.startswith("hurricane-wsgi")]
    return JsonResponse({"pid": os.getpid(), "parent": os.getppid(), "path": sys.path, "python": sys.executable,
                         "threads": len(slots)})


def grow(request):
    """Keeps 8 MiB for ever."""
    KEPT.append(bytearray(os.urandom(1 << 20) * 8))
    return HttpResponse(str(os.getpid()))


KEPT = []


def upload(request, name):
    """Saves the request's body as a media file; where it is then."""
    return HttpResponse(default_storage.url(default_storage.save(name, ContentFile(request.body))))


urlpatterns = [
    path("", index),
    path("count", counting.count),
    path("grow", grow),
    path("later", web.later),
    path("meta", web.meta),
    path("nothing", web.nothing),
    path("process", process),
    path("stream", web.stream),
    path("upload/<path:name>", upload),
]
