"""Does not import."""


def deep():
    raise RuntimeError("broken on purpose")


deep()
