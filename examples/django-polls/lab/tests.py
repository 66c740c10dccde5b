"""Tests of the lab."""

import hashlib
import os
import threading
import time
from unittest import mock

from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client, SimpleTestCase, override_settings

from .views import DOWNLOAD


class LabTest(SimpleTestCase):
    def test_hello(self):
        response = self.client.get("/hello")
        self.assertEqual(response.content, b"Hello, World!")
        self.assertEqual(response["Content-Type"], "text/plain; charset=utf-8")

    def test_slow_sleeps_as_long_as_asked(self):
        with mock.patch("lab.views.time.sleep") as sleep:
            self.client.get("/slow?seconds=1.5")
            self.client.get("/slow")
        self.assertEqual(sleep.call_args_list, [mock.call(1.5), mock.call(2)])

    def test_burn_uses_the_cpu_of_its_own_thread(self):
        before = time.thread_time()
        self.assertEqual(self.client.get("/burn?ms=30").status_code, 200)
        self.assertGreaterEqual(time.thread_time() - before, 0.03)

    def test_gil_lets_no_other_thread_run(self):
        started, stopped = threading.Event(), threading.Event()
        gap = 0

        def tick():
            nonlocal gap
            last = time.monotonic()
            while True:
                done = stopped.is_set()
                now = time.monotonic()
                gap, last = max(gap, now - last), now
                started.set()
                if done:
                    return

        ticker = threading.Thread(target=tick)
        ticker.start()
        started.wait()
        self.client.get("/gil?seconds=0.3")
        stopped.set()
        ticker.join()
        self.assertGreaterEqual(gap, 0.3)

    def test_stream_sends_its_chunks_one_by_one(self):
        response = self.client.get("/stream?chunks=3&delay=0")
        self.assertTrue(response.streaming)
        self.assertEqual(list(response), [b"chunk 1 of 3\n", b"chunk 2 of 3\n", b"chunk 3 of 3\n"])

    def test_download_is_the_file(self):
        response = self.client.get("/download")
        self.assertEqual(b"".join(response), DOWNLOAD.read_bytes())
        self.assertEqual(response["Content-Disposition"], 'attachment; filename="beaufort.csv"')
        self.assertEqual(int(response["Content-Length"]), DOWNLOAD.stat().st_size)

    def test_upload_tells_size_and_hash_of_a_form_and_of_a_raw_body(self):
        # Larger than what Django keeps in memory, to go through its temporary file and its size limit.
        data = b"gust" * 1_000_000
        expected = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        form = self.client.post("/upload", {"file": SimpleUploadedFile("gust.bin", data)})
        raw = self.client.post("/upload", data, content_type="application/octet-stream")
        self.assertEqual(form.json(), expected)
        self.assertEqual(raw.json(), expected)

    def test_upload_of_a_form_without_a_file_is_refused(self):
        self.assertEqual(self.client.post("/upload", {"file": "no file"}).status_code, 400)

    def test_echo_needs_no_csrf_token(self):
        client = Client(enforce_csrf_checks=True)
        response = client.post("/echo", b"\x00\xff", content_type="application/x-blob")
        self.assertEqual(response.content, b"\x00\xff")
        self.assertEqual(response["Content-Type"], "application/x-blob")

    def test_headers_shows_the_request_and_not_the_environment(self):
        with mock.patch.dict(os.environ, {"SECRET": "x"}):
            meta = self.client.get("/headers", headers={"x-gust": "12"}, SECRET="x").json()
        self.assertEqual(meta["HTTP_X_GUST"], "12")
        self.assertEqual(meta["REQUEST_METHOD"], "GET")
        self.assertNotIn("SECRET", meta)

    def test_crash_is_a_500(self):
        client = Client(raise_request_exception=False)
        with self.assertLogs("django.request", "ERROR"):
            self.assertEqual(client.get("/crash").status_code, 500)

    def test_exit_ends_the_process(self):
        class Gone(BaseException):
            """Stands for the end of the process."""

        with mock.patch("lab.views.os._exit", side_effect=Gone) as leave, self.assertRaises(Gone):
            self.client.get("/exit")
        leave.assert_called_once_with(3)

    def test_cookies_sets_two_and_shows_those_that_came(self):
        self.assertEqual(self.client.get("/cookies").json(), {})
        self.assertEqual(self.client.get("/cookies").json(), {"wind": "north-west", "force": "12"})

    def test_status_is_the_one_asked_for(self):
        for code in [200, 204, 304, 404, 418, 503, 599]:
            self.assertEqual(self.client.get(f"/status/{code}").status_code, code)
        for code in [0, 101, 600]:
            self.assertEqual(self.client.get(f"/status/{code}").status_code, 400)

    def test_numbers_out_of_range_are_refused(self):
        for query in ["seconds=x", "seconds=-1", "seconds=nan", "seconds=inf", "seconds=601"]:
            self.assertEqual(self.client.get(f"/slow?{query}").status_code, 400, query)

    @override_settings(LAB=False)
    def test_closed_lab_keeps_only_the_harmless_views(self):
        for path in ["/slow", "/burn", "/gil", "/stream", "/headers", "/crash", "/exit"]:
            self.assertEqual(self.client.get(path).status_code, 404, path)
        self.assertEqual(self.client.post("/echo", b"x", content_type="text/plain").status_code, 404)
        for path in ["/hello", "/download", "/cookies", "/status/200"]:
            self.assertEqual(self.client.get(path).status_code, 200, path)
