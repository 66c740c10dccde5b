"""The chat, over WebSockets."""

from channels.generic.websocket import AsyncJsonWebsocketConsumer

# The longest name and the longest text that are passed on.
NAME, TEXT = 30, 500


class ChatConsumer(AsyncJsonWebsocketConsumer):
    """One who chats: what is said goes to all."""

    groups = ["chat"]

    async def receive_json(self, content):
        said = content if isinstance(content, dict) else {}
        name, text = str(said.get("name", ""))[:NAME].strip(), str(said.get("text", ""))[:TEXT].strip()
        if text:
            message = {"type": "chat.message", "name": name or "somebody", "text": text}
            await self.channel_layer.group_send("chat", message)

    async def chat_message(self, event):
        await self.send_json({"name": event["name"], "text": event["text"]})

    @classmethod
    async def decode_json(cls, text):
        """What is no JSON is nothing that anybody said."""
        try:
            return await super().decode_json(text)
        except ValueError:
            return None
