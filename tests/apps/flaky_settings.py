"""The polls example with a database that the test can take away."""
from mysite.settings import *  # noqa: F403

DATABASES["default"]["ENGINE"] = "flaky_db"  # noqa: F405
