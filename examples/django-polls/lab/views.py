"""Views for trying a server: slow, busy, streaming, crashing.

Those that can stall or end a process, hand back what a stranger sent, or tell about the server, answer 404 unless
`settings.LAB` is on.
"""

import ctypes
import functools
import hashlib
import os
import time
from pathlib import Path

from django.conf import settings
from django.core.exceptions import BadRequest
from django.http import FileResponse, Http404, HttpResponse, JsonResponse, StreamingHttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

DOWNLOAD = Path(__file__).parent / "files" / "beaufort.csv"


def lab_only(view):
    """Hides a view unless `settings.LAB` is on."""

    @functools.wraps(view)
    def guarded(request, *args, **kwargs):
        if not settings.LAB:
            raise Http404("the lab is closed")
        return view(request, *args, **kwargs)

    return guarded


def hello(request):
    """Answers with the least there is to answer."""
    return text("Hello, World!")


@lab_only
def slow(request):
    """Waits for `seconds`, as for a slow database: the thread is taken, the GIL is free."""
    seconds = number(request, "seconds", default=2, most=600)
    time.sleep(seconds)
    return text(f"slept {seconds:g} s\n")


@lab_only
def burn(request):
    """Computes in Python until this thread itself has used `ms` of CPU, however many others compete."""
    ms = number(request, "ms", default=20, most=600_000)
    end = time.thread_time() + ms / 1000
    rounds = 0
    while time.thread_time() < end:
        rounds += sum(range(100)) > 0
    return text(f"burnt {ms:g} ms of CPU in {rounds} rounds\n")


@lab_only
def gil(request):
    """Holds the GIL for `seconds`: no other thread of this process runs any Python in that time."""
    seconds = number(request, "seconds", default=5, most=600)
    # A C extension that forgets to release the GIL, made to measure. `ctypes.PyDLL` calls without releasing it
    # (`CDLL` would release), and a C library's sleep lasts exactly as long as wanted and costs no CPU.
    ctypes.PyDLL(None).usleep(ctypes.c_uint(round(seconds * 1_000_000)))
    return text(f"held the GIL for {seconds:g} s\n")


@lab_only
def stream(request):
    """Sends `chunks` lines, waiting `delay` seconds before each but the first."""
    chunks = int(number(request, "chunks", default=5, most=1_000_000))
    delay = number(request, "delay", default=0.2, most=600)

    def lines():
        for i in range(chunks):
            if i:
                time.sleep(delay)
            yield f"chunk {i + 1} of {chunks}\n"

    return StreamingHttpResponse(lines(), content_type="text/plain; charset=utf-8")


def download(request):
    """Sends a file, through the server's `wsgi.file_wrapper` where it has one."""
    return FileResponse(DOWNLOAD.open("rb"), as_attachment=True)


@csrf_exempt
@require_POST
def upload(request):
    """Tells the size and the SHA-256 of the first file of a form, or of the raw body."""
    if request.content_type == "multipart/form-data":
        file = next(iter(request.FILES.values()), None)
        if file is None:
            raise BadRequest("the form holds no file")
        chunks = file.chunks()
    else:
        # Read piece by piece, so that the body may be larger than DATA_UPLOAD_MAX_MEMORY_SIZE.
        chunks = iter(lambda: request.read(64 * 1024), b"")

    size, digest = 0, hashlib.sha256()
    for chunk in chunks:
        size += len(chunk)
        digest.update(chunk)
    return JsonResponse({"size": size, "sha256": digest.hexdigest()})


@csrf_exempt
@require_POST
@lab_only
def echo(request):
    """Sends the body back under its own content type."""
    return HttpResponse(request.read(), content_type=request.META.get("CONTENT_TYPE") or "application/octet-stream")


@lab_only
def headers(request):
    """Shows the strings of `request.META`: what the server made of the request."""
    # Django's own runserver mixes the process's environment into META; that is nobody's business.
    return JsonResponse(
        {
            name: value
            for name, value in sorted(request.META.items())
            if isinstance(value, str) and os.environ.get(name) != value
        }
    )


@lab_only
def crash(request):
    """Raises, as a view with a bug does; the server answers 500 and lives on."""
    raise RuntimeError("this view always crashes")


@lab_only
def leave(request):
    """Ends the whole process without a word, as a segmentation fault would."""
    os._exit(3)


def cookies(request):
    """Sets two cookies and shows those that came; both `Set-Cookie` headers must arrive."""
    response = JsonResponse(dict(request.COOKIES))
    response.set_cookie("wind", "north-west", samesite="Lax")
    response.set_cookie("force", "12", max_age=3600, httponly=True, samesite="Lax")
    return response


def status(request, code):
    """Answers with the status `code`."""
    if not 200 <= code <= 599:
        raise BadRequest("a final status lies between 200 and 599")
    if code in {204, 304}:
        return HttpResponse(status=code)
    return text(f"{code}\n", status=code)


def text(content, status=200):
    return HttpResponse(content, status=status, content_type="text/plain; charset=utf-8")


def number(request, name, *, default, most):
    """Reads a number from the query, and refuses what is not one or lies outside 0 to `most`."""
    try:
        value = float(request.GET.get(name, default))
    except ValueError:
        raise BadRequest(f"{name} is not a number") from None
    # Not a number (nan) fails this too.
    if not 0 <= value <= most:
        raise BadRequest(f"{name} must lie between 0 and {most}")
    return value
