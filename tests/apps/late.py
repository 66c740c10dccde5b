"""An application whose import takes as long as the test wants."""
from notes import note, wait_for

note("importing")
wait_for("imported")


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"late"]
