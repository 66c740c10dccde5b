"""Applications of frameworks that many use."""
import asyncio
import contextlib
import os
import pathlib
import tempfile

from fastapi import BackgroundTasks, Depends, FastAPI, UploadFile
from notes import note
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route

DIR = pathlib.Path(os.environ.get("TEST_DIR", tempfile.gettempdir()))


# --- Starlette

@contextlib.asynccontextmanager
async def lifespan(app):
    note("starlette begins")
    yield {"greeting": "hello from the state"}
    note("starlette ends")


async def state(request):
    return PlainTextResponse(request.state.greeting)


async def stream(request):
    async def numbers():
        for number in range(10):
            yield f"{number}\n"
            await asyncio.sleep(0)

    return StreamingResponse(numbers(), media_type="text/plain")


async def form(request):
    async with request.form() as fields:
        return JSONResponse({"name": fields["name"], "length": len(await fields["file"].read())})


async def leave(request):
    note("starlette waits for the client to leave")
    while not await request.is_disconnected():
        await asyncio.sleep(0.01)
    note("starlette saw the client leave")


async def file(request):
    (DIR / "file").write_bytes(b"x" * 1_000_000)
    return FileResponse(DIR / "file", background=BackgroundTask(note, "starlette after the file"))


async def inner(request):
    return PlainTextResponse(f"{request.scope['root_path']} {request.url.path}")


starlette = Starlette(lifespan=lifespan, routes=[
    Route("/state", state), Route("/stream", stream), Route("/form", form, methods=["POST"]), Route("/leave", leave),
    Route("/file", file), Mount("/mounted", routes=[Route("/inner", inner)])])


# --- FastAPI

class Item(BaseModel):
    name: str
    price: float


api = FastAPI()


async def connection():
    note("opened")
    try:
        yield "connection"
    finally:
        note("closed")


@api.post("/items")
async def item(item: Item, background: BackgroundTasks, connection: str = Depends(connection)):
    background.add_task(note, f"sold {item.name}")
    return {"name": item.name, "double": item.price * 2, "by": connection}


@api.post("/upload")
def upload(file: UploadFile):
    return {"length": len(file.file.read())}


@api.get("/sync/{number}")
def sync(number: int, request: Request):
    return {"number": number, "host": request.client.host}
