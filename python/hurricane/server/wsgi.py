"""In django-hurricane, tornado's side of the server."""
raise ImportError("hurricane.server.wsgi is not there: Hurricane's server is not tornado's, start it with "
                  "'manage.py serve'", name=__name__)
