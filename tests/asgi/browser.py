"""Two tabs of a browser talk on the example's chat page, and one watches while another votes; PORT is the server's.

Drives a headless Chromium through ChromeDriver, with what the standard library has.
"""
import json
import os
import re
import subprocess
import tempfile
import time
import urllib.request

SITE = f"http://127.0.0.1:{os.environ['PORT']}"
PATIENCE = 60
FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic",
         "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--no-proxy-server"]
# What the WebDriver specification calls a reference to an element.
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


class Browser:
    """One session of a driver, by the W3C's WebDriver protocol."""

    def __init__(self, address, folder):
        self.address = f"{address}/session"
        options = {"args": [*FLAGS, f"--user-data-dir={folder}"], "binary": os.environ["CHROMIUM"]}
        session = self.call("POST", "", capabilities={"alwaysMatch": {"goog:chromeOptions": options}})
        self.address += f"/{session['sessionId']}"

    def call(self, method, path, **fields):
        data = json.dumps(fields).encode() if method == "POST" else None
        request = urllib.request.Request(self.address + path, data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]

    def open_tab(self, url):
        tab = self.call("POST", "/window/new", type="tab")["handle"]
        self.call("POST", "/window", handle=tab)
        self.call("POST", "/url", url=url)
        return tab

    def show(self, tab):
        self.call("POST", "/window", handle=tab)

    def find(self, selector):
        found = self.call("POST", "/element", using="css selector", value=selector)
        return f"/element/{found[ELEMENT]}"

    def text(self, selector):
        return self.call("GET", self.find(selector) + "/text")

    def write(self, selector, text):
        self.call("POST", self.find(selector) + "/value", text=text)

    def click(self, selector):
        self.call("POST", self.find(selector) + "/click")

    def wait_for(self, selector, text):
        end = time.monotonic() + PATIENCE
        while (shown := self.text(selector)) != text:
            assert time.monotonic() < end, f"{selector} shows {shown!r} and not {text!r}"
            time.sleep(0.02)


def chat(browser):
    ada, bob = (browser.open_tab(f"{SITE}/chat/") for _ in range(2))
    for tab in (ada, bob):
        browser.show(tab)
        browser.wait_for("#state", "connected")
    lines = []
    for tab, name, text in ((ada, "Ada", "Hello, Bob"), (bob, "Bob", "<b>Hello</b>, Ada \u2600"), (ada, "", "Bye")):
        browser.show(tab)
        browser.write("#name", name)
        browser.write("#text", text)
        browser.click("#say button")
        lines.append(f"{name or 'Ada'} {text}")
        for one in (ada, bob):
            browser.show(one)
            browser.wait_for("#messages", "\n".join(lines))


def votes(browser):
    watching = browser.open_tab(f"{SITE}/live/")
    cell = "tr[data-id='1'] td"
    before = int(browser.text(cell))
    browser.open_tab(f"{SITE}/questions/1/")
    browser.click("input[name=choice]")
    browser.click("form button")
    browser.show(watching)
    browser.wait_for(cell, str(before + 1))


with tempfile.TemporaryDirectory() as folder:
    driver = subprocess.Popen([os.environ["CHROMEDRIVER"], "--port=0"], stdout=subprocess.PIPE, text=True)
    try:
        started = (re.search(r"started successfully on port (\d+)", line) for line in driver.stdout)
        port = next(found[1] for found in started if found)
        browser = Browser(f"http://127.0.0.1:{port}", folder)
        try:
            chat(browser)
            votes(browser)
        finally:
            browser.call("DELETE", "")
    finally:
        driver.terminate()
        driver.communicate()
