"""How an application is found and loaded."""
import contextlib
import io
import os
import sys
import tempfile
import textwrap
import unittest
from unittest import mock

from hurricane.worker import application

try:
    import django
except ImportError:
    django = None


class ApplicationTest(unittest.TestCase):
    """In a folder of its own; what is imported from it is forgotten again."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(folder.name)
        for patch in (mock.patch.object(sys, "path", [path for path in sys.path if path]),
                      mock.patch.dict(sys.modules), mock.patch.dict(os.environ)):
            patch.start()
            self.addCleanup(patch.stop)
        os.environ.pop("DJANGO_SETTINGS_MODULE", None)

    def write(self, name, text):
        os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
        with open(name, "w", encoding="utf-8") as file:
            file.write(textwrap.dedent(text))

    def fails(self, app, reason="application"):
        """Loads what does not load: the message, and what was shown."""
        with contextlib.redirect_stderr(io.StringIO()) as shown, self.assertRaises(application.LoadError) as caught:
            application.load(app, "auto")
        self.assertEqual(caught.exception.reason, reason)
        return str(caught.exception), shown.getvalue()


class Named(ApplicationTest):
    def test_it_is_found_in_the_working_directory(self):
        self.write("site_a.py", "def app(environ, start_response): return 'found'\n")
        self.assertEqual(application.load("site_a:app", "auto")[0](None, None), "found")

    def test_the_attribute_is_application_unless_it_is_named(self):
        self.write("site_b.py", "def application(environ, start_response): pass\n")
        found, _ = application.load("site_b", "auto")
        self.assertEqual(found.__name__, "application")
        self.assertIs(application.load("site_b:", "auto")[0], found)

    def test_the_attribute_may_be_of_an_attribute(self):
        self.write("package/site_c.py", "class Site:\n    @staticmethod\n    def app(*args): pass\n")
        self.assertTrue(callable(application.load("package.site_c:Site.app", "auto")[0]))

    def test_a_missing_module_is_named_without_a_traceback(self):
        for app, missing in (("nowhere:app", "nowhere"), ("nowhere.inside:app", "nowhere")):
            message, shown = self.fails(app)
            self.assertIn(repr(missing), message)
            self.assertIn(os.getcwd(), message)
            self.assertEqual(shown, "")

    def test_a_missing_attribute_is_named(self):
        self.write("site_d.py", "")
        message, shown = self.fails("site_d:app")
        self.assertEqual(message, "module 'site_d' has no attribute 'app'")
        self.assertEqual(shown, "")

    def test_what_cannot_be_called_is_no_application(self):
        self.write("site_e.py", "app = 5\n")
        self.assertEqual(self.fails("site_e:app")[0], "'site_e:app' is not callable: int")

    def test_an_error_in_the_module_shows_its_traceback(self):
        for number, (text, error) in enumerate((("1 / 0", "ZeroDivisionError"), ("(", "SyntaxError"),
                                                ("raise SystemExit(3)", "SystemExit"))):
            name = f"site_f{number}"
            self.write(f"{name}.py", f"\n{text}\n")
            message, shown = self.fails(f"{name}:app")
            self.assertEqual(message, f"module {name!r} does not import")
            self.assertIn(error, shown)
            self.assertIn(f"{name}.py\", line 2", shown)

    def test_a_module_that_it_imports_and_that_is_missing_shows_the_traceback(self):
        self.write("site_g.py", "import not_installed_at_all\n")
        message, shown = self.fails("site_g:app")
        self.assertEqual(message, "module 'site_g' does not import")
        self.assertIn("not_installed_at_all", shown)

    def test_a_missing_django_is_told_apart(self):
        self.write("site_h.py", "import django\n")
        with mock.patch.dict(sys.modules, {"django": None}):
            message, shown = self.fails("site_h:app", "django")
        self.assertIn("django", shown)


class Interfaces(ApplicationTest):
    def test_an_application_is_called_as_what_it_looks_like(self):
        self.write("site_i.py", """
            import functools

            def wsgi(environ, start_response): pass
            def tolerant(environ, start_response, more=None): pass
            async def asgi(scope, receive, send): pass
            def wrapped(scope, receive, send): return asgi(scope, receive, send)
            async def any_of_them(*args): pass
            partial = functools.partial(functools.partial(asgi))

            class Wsgi:
                def __call__(self, environ, start_response): pass
            class Asgi:
                async def __call__(self, scope, receive, send): pass
                async def method(self, scope, receive, send): pass
            class Wrapper:
                def __call__(self, scope, receive, send): return asgi(scope, receive, send)

            wsgi_object, asgi_object, wrapper, method = Wsgi(), Asgi(), Wrapper(), Asgi().method
        """)
        for interface, names in (("wsgi", ("wsgi", "tolerant", "wsgi_object")),
                                 ("asgi", ("asgi", "wrapped", "any_of_them", "partial", "asgi_object", "wrapper",
                                           "method"))):
            for name in names:
                with self.subTest(name):
                    self.assertEqual(application.load(f"site_i:{name}", "auto")[1], interface)
                    self.assertEqual(application.load(f"site_i:{name}", "asgi")[1], "asgi")
                    self.assertEqual(application.load(f"site_i:{name}", "wsgi")[1], "wsgi")

    @unittest.skipUnless(django, "Django is not installed")
    def test_a_django_project_is_asgi_when_it_names_only_that(self):
        named = {"WSGI_APPLICATION": "site_j.wsgi", "ASGI_APPLICATION": "site_j.asgi"}
        self.write("site_j.py", "wsgi, asgi = 'the wsgi application', 'the asgi application'\n")
        for names, interface, expected in (
            (["WSGI_APPLICATION"], "auto", ("the wsgi application", "wsgi")),
            (["ASGI_APPLICATION"], "auto", ("the asgi application", "asgi")),
            (["WSGI_APPLICATION", "ASGI_APPLICATION"], "auto", ("the wsgi application", "wsgi")),
            (["WSGI_APPLICATION", "ASGI_APPLICATION"], "asgi", ("the asgi application", "asgi")),
        ):
            settings = mock.Mock(spec=names, **{name: named[name] for name in names})
            os.environ["DJANGO_SETTINGS_MODULE"] = "site_j"
            with self.subTest(names), mock.patch("django.setup"), mock.patch("django.conf.settings", settings):
                self.assertEqual(application.load(None, interface), expected)


    @unittest.skipUnless(django, "Django is not installed")
    def test_a_django_project_has_its_asgi_application_beside_its_urls(self):
        os.environ["DJANGO_SETTINGS_MODULE"] = "site_k.settings"
        self.write("site_k/__init__.py", "")
        self.write("site_k/asgi.py", "application = 'the asgi application'\n")
        self.write("site_l/__init__.py", "")
        for urls, expected in (("site_k.urls", "the asgi application"), ("site_l.urls", "Django's own"),
                               ("urls", "Django's own")):
            settings = mock.Mock(spec=["ROOT_URLCONF"], ROOT_URLCONF=urls)
            with self.subTest(urls), mock.patch("django.core.asgi.get_asgi_application", lambda: "Django's own"), \
                    mock.patch("django.setup"), mock.patch("django.conf.settings", settings):
                self.assertEqual(application.load(None, "asgi"), (expected, "asgi"))

    @unittest.skipUnless(django, "Django is not installed")
    def test_a_hybrid_one_is_both(self):
        self.write("site_m.py", '''
            import os
            os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_m")
            def wsgi(environ, start_response): pass
            async def asgi(scope, receive, send): pass
        ''')
        names = {"WSGI_APPLICATION": "site_m.wsgi", "ASGI_APPLICATION": "site_m.asgi"}
        settings = mock.Mock(spec=list(names), **names)
        with mock.patch("django.setup"), mock.patch("django.conf.settings", settings):
            for app, asgi_app in (("site_m:wsgi", "site_m:asgi"), ("site_m:wsgi", None), (None, "site_m:asgi"),
                                  (None, None)):
                with self.subTest(app=app, asgi_app=asgi_app):
                    found = application.load_both(app, asgi_app)
                    self.assertEqual([one.__name__ for one in found], ["wsgi", "asgi"])
        with self.assertRaisesRegex(application.LoadError, "called as ASGI"):
            application.load_both("site_m:asgi", None)


class ManagePy(ApplicationTest):
    def found(self, text):
        self.write("manage.py", text)
        return application.settings_module_of_manage_py("manage.py")

    def test_the_settings_are_read_without_running_it(self):
        self.assertEqual(self.found("""
            import os
            raise RuntimeError("it was run")
            def main():
                os.environ.setdefault("OTHER", "no")
                os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'mysite.settings')
        """), "mysite.settings")

    def test_one_that_sets_none_or_cannot_be_read_gives_none(self):
        for text in ("", "import os\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', name)", "def (", "\0"):
            self.assertIsNone(self.found(text))
        self.assertIsNone(application.settings_module_of_manage_py("absent.py"))

    def test_without_anything_to_load_it_is_said_what_to_do(self):
        message, shown = self.fails(None)
        for text in ("--app", "DJANGO_SETTINGS_MODULE", "manage.py", os.getcwd()):
            self.assertIn(text, message)
        self.assertEqual(shown, "")

    def test_a_missing_django_is_named(self):
        self.write("manage.py", "import os\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'mysite.settings')\n")
        with mock.patch.dict(sys.modules, {"django": None}):
            message, _ = self.fails(None, "django")
        self.assertIn(sys.executable, message)
        self.assertEqual(os.environ["DJANGO_SETTINGS_MODULE"], "mysite.settings")

    @unittest.skipUnless(django, "Django is not installed")
    def test_settings_that_do_not_import_show_their_traceback(self):
        os.environ["DJANGO_SETTINGS_MODULE"] = "broken_settings"
        self.write("broken_settings.py", "raise RuntimeError('broken')\n")
        message, shown = self.fails(None)
        self.assertIn("'broken_settings'", message)
        self.assertIn("RuntimeError: broken", shown)


if __name__ == "__main__":
    unittest.main()
