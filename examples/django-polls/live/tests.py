"""Tests of the live pages."""

import json

from asgiref.testing import ApplicationCommunicator
from django.test import TransactionTestCase
from mysite.asgi import application
from polls.models import Question

# What is bound to come, comes before this (seconds).
PATIENCE = 60


class LiveTest(TransactionTestCase):
    def test_the_votes_are_shown(self):
        question = Question.objects.create(text="Which way?")
        question.choices.create(text="North", votes=3)
        page = self.client.get("/live/").content.decode()
        self.assertInHTML("<th>Which way?</th>", page)
        self.assertInHTML("<td>3</td>", page)

    def test_events_need_asgi(self):
        self.assertEqual(self.client.get("/live/events").status_code, 501)

    async def test_events_tell_of_votes(self):
        question = await Question.objects.acreate(text="Which way?")
        choice = await question.choices.acreate(text="North")
        response = await self.async_client.get("/live/events")
        self.assertEqual(response["Content-Type"], "text/event-stream")
        expected = [[0], [1]]
        async for event in response:
            counts = [question["votes"] for question in json.loads(event.decode().removeprefix("data: "))]
            self.assertEqual(counts, expected.pop(0))
            if not expected:
                break
            choice.votes = 1
            await choice.asave()

    async def test_what_one_says_all_hear(self):
        both = [await connected() for _ in range(2)]
        await both[0].send_input({"type": "websocket.receive", "text": "no JSON"})
        for said in ({"text": " "}, {"name": "Ada", "text": "Hello"}):
            await both[0].send_input({"type": "websocket.receive", "text": json.dumps(said)})
        for one in both:
            heard = json.loads((await one.receive_output(PATIENCE))["text"])
            self.assertEqual(heard, {"name": "Ada", "text": "Hello"})
            await one.send_input({"type": "websocket.disconnect", "code": 1000})
            await one.wait(PATIENCE)


async def connected():
    """A WebSocket of the chat that has been accepted."""
    headers = [(b"origin", b"http://testserver")]
    scope = {"type": "websocket", "path": "/ws/chat", "headers": headers, "query_string": b""}
    communicator = ApplicationCommunicator(application, scope)
    await communicator.send_input({"type": "websocket.connect"})
    assert (await communicator.receive_output(PATIENCE))["type"] == "websocket.accept"
    return communicator
