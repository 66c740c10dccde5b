"""The worker process: loads the application and runs the requests that the server sends.

The server starts it with ``bootstrap.py`` and talks to it over inherited socket pairs:
one control channel (``main``), two data channels for each thread (``wsgi``). ``frame`` is
the format of both. Standard library only, so that any CPython from 3.9 on can run it.
"""
