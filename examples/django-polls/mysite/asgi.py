"""The ASGI application, `mysite.asgi:application`: Django for HTTP, Channels for WebSockets."""

import os

from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.core.asgi import get_asgi_application
from django.urls import path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")

django = get_asgi_application()

# Only now, as it needs the apps to be ready.
from live.consumers import ChatConsumer  # noqa: E402

application = ProtocolTypeRouter(
    {
        "http": django,
        # Browsers let the pages of any site open a WebSocket: their origin has to be among ALLOWED_HOSTS.
        "websocket": AllowedHostsOriginValidator(URLRouter([path("ws/chat", ChatConsumer.as_asgi())])),
    }
)
