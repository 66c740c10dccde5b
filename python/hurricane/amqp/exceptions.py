class ChannelClosed(RuntimeError):
    """What a handler wants cannot be told to the server, which is gone."""
