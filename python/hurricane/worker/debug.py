"""The page that shows the traceback of an application that failed and gave no answer. Under ``--debug`` only."""
import html
import traceback

PAGE = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>{error}</title>
<style>
body {{ font-family: sans-serif; margin: 2rem }}
pre {{ background: #f4f4f4; padding: 1rem; overflow-x: auto }}
</style>
</head>
<body>
<h1>{error}</h1>
<p>The application failed on {method} {path} and gave no answer.</p>
<pre>{trace}</pre>
<p>This page is shown because the server runs with <code>--debug</code>.</p>
</body>
</html>
"""

STATUS = 500, "500 Internal Server Error"


def page(method, path):
    """Headers and body for the exception that is being handled, or for the lack of an answer where there is none."""
    trace = traceback.format_exc()
    if trace.startswith("NoneType"):
        trace = "The application returned without an answer."
    error = trace.strip().rpartition("\n")[2]
    values = {"error": error, "method": method, "path": path, "trace": trace}
    body = PAGE.format(**{name: html.escape(value) for name, value in values.items()}).encode("utf-8", "replace")
    headers = [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(body))),
               ("Cache-Control", "no-store")]
    return headers, body
