"""JupyterLab on this computer alone, and Debian's Chromium to use it. Run by `make test-browser` alone."""

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from urllib.request import Request, urlopen

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from tools.site import decks, pages, reference

HERE, ROOT = Path(__file__).resolve().parent, Path(__file__).resolve().parents[2]
SHOTS = ROOT / "build" / "browser"
PROJECTOR = {"width": 1280, "height": 720}
CHROMIUM = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
# as `make lab` does, for a sentence on large files
UPLOADS = "--ServerApp.tornado_settings={'websocket_max_message_size': 67108864}"
NO_NEWS = '{"fetchNews": "false", "checkForUpdates": false}'  # else a dialog asks about them
PATIENCE = float(os.environ.get("PATIENCE", 1))  # more than 1 on a computer that is busy with other work
SHORT, LONG = 30_000 * PATIENCE, 180_000 * PATIENCE  # milliseconds


def pytest_ignore_collect(collection_path, config):
    """These tests take minutes and need a browser: only for those who name their folder."""
    asked = any(
        HERE in (path := Path(argument.split("::")[0]).resolve()).parents or path == HERE for argument in config.args
    )
    return None if asked else True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Let `open_notebook` know that its test failed, for a last screenshot."""
    report = yield
    item.failed = getattr(item, "failed", False) or report.failed
    return report


def skip(reason):
    """Skip, or fail where BROWSER=required says that the browser must be here."""
    (pytest.fail if os.environ.get("BROWSER") == "required" else pytest.skip)(reason)


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium, steered by Playwright."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        skip("playwright is not installed: .venv/bin/python -m pip install playwright")
    if CHROMIUM is None:
        skip("there is no Chromium: apt-get install chromium, or set CHROMIUM to its path")
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-background-networking", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """The course as `make course` leaves it, from the outputs that are stored in the notebooks."""
    out, notebooks = tmp_path_factory.mktemp("course"), ROOT / "notebooks"
    chapters = sorted(notebooks.glob("[0-9]*.ipynb"))
    decks.copy_reveal(out)
    reference.save(out)
    pages.save_sheets(notebooks, out)
    pages.save_table(notebooks, out)
    for path in chapters:
        notebook = nbformat.read(path, as_version=4)
        notebook.metadata["course"] = {"seconds": 1, "failed": None}
        pages.save(notebook, path, out)
    pages.write_index([path.stem for path in chapters], out)
    return out


@pytest.fixture
def page(browser):
    """A page of a projector's size: `.asked` are the requests that leave the disk, `.said` the console's errors."""
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    page = context.new_page()
    page.set_default_timeout(LONG)
    page.asked, page.said = [], []
    page.on(
        "request", lambda request: request.url.startswith(("file:", "data:", "blob:")) or page.asked.append(request.url)
    )
    page.on("console", lambda message: message.type in ("error", "warning") and page.said.append(message.text))
    page.on("pageerror", lambda error: page.said.append(str(error)))
    yield page
    context.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """JupyterLab with folders of its own, on loopback, behind a token: .folder of the notebooks, .url, .token."""
    home = tmp_path_factory.mktemp("jupyter")
    folder = home / "work" / "notebooks"
    folder.mkdir(parents=True)
    (home / "work" / "data").symlink_to(ROOT / "data")
    news = home / "settings" / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    news.parent.mkdir(parents=True)
    news.write_text(NO_NEWS)
    kinds = ("JUPYTER_CONFIG", "JUPYTER_DATA", "JUPYTER_RUNTIME", "JUPYTERLAB_SETTINGS", "JUPYTERLAB_WORKSPACES")
    folders = {f"{kind}_DIR": str(home / kind.split("_")[1].lower()) for kind in kinds}
    environment = {**os.environ, **folders, "IPYTHONDIR": str(home / "ipython"), "GOMP_SPINCOUNT": "1000"}
    token, port = secrets.token_hex(16), _free_port()
    command = [sys.executable, *"-m jupyter lab --no-browser --ip=127.0.0.1 --allow-root".split(), f"--port={port}"]
    command += ["--ServerApp.port_retries=0", UPLOADS, f"--IdentityProvider.token={token}"]
    command += [f"--ServerApp.root_dir={home / 'work'}"]
    with open(home / "server.log", "wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            _wait_for(f"http://127.0.0.1:{port}/api/status?token={token}", process, home / "server.log")
            yield SimpleNamespace(folder=folder, url=f"http://127.0.0.1:{port}", token=token)
        finally:
            process.terminate()  # JupyterLab ends its kernels, too
            process.wait(30)


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait_for(url, process, log):
    until = time.monotonic() + 60 * PATIENCE
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        try:
            return urlopen(url, timeout=5).read()
        except OSError:
            time.sleep(0.3)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()[-2000:]}")


def _end_kernels(server):
    """End the kernels of the notebooks that were open, or their memory adds up."""
    headers = {"Authorization": f"token {server.token}"}
    with urlopen(Request(f"{server.url}/api/kernels", headers=headers), timeout=60) as answer:
        kernels = json.load(answer)
    for kernel in kernels:
        request = Request(f"{server.url}/api/kernels/{kernel['id']}", headers=headers, method="DELETE")
        urlopen(request, timeout=60).close()


class Notebook:
    """A notebook open in the browser.

    Attributes:
        page: Playwright's page.
        lab: the locator of the lab shown last.
    """

    def __init__(self, page, name):
        self.page, self.name = page, name
        self.lab = page.locator(".d2l-lab").last

    def run(self):
        """Run > Run All Cells, as a person does, and wait for the lab."""
        self.page.locator(".lm-MenuBar-itemLabel", has_text="Run").first.click()
        self.page.locator('li[data-command="runmenu:run-all"]').click()
        self.lab.wait_for(state="visible", timeout=LONG)
        # JupyterLab takes the focus when the last cell is done
        prompts = self.page.locator(".jp-CodeCell .jp-InputPrompt")
        self.until(lambda: all(re.search(r"\d", text) for text in prompts.all_inner_texts()))
        self.lab.scroll_into_view_if_needed()

    def button(self, text):
        """A button of the lab by its text."""
        name = re.compile(rf"^\s*{re.escape(text)}\s*$")  # which begins with an icon
        return self.lab.locator("button", has_text=name)

    def picture(self, name):
        """The bytes of the lab's picture of this name."""
        code = "async image => Array.from(new Uint8Array(await (await fetch(image.src)).arrayBuffer()))"
        return bytes(self.lab.locator(f"img.d2l-{name}").evaluate(code))

    def until(self, question, seconds=60):
        """Wait until a question is answered with something true; return that."""
        until = time.monotonic() + seconds * PATIENCE
        while time.monotonic() < until:
            if answer := question():
                return answer
            self.page.wait_for_timeout(100)
        raise AssertionError(f"not within {seconds} s; the lab says: {self.lab.inner_text()}")

    def changed(self, name, before, seconds=60):
        """Wait until the picture is another one; return it."""

        def other():
            now = self.picture(name)
            return now != before and now

        return self.until(other, seconds)

    def run_cell(self, number):
        """Run one code cell by keyboard, and wait until it has been run; return its locator."""
        cell = self.page.locator(".jp-CodeCell").nth(number)
        prompt = cell.locator(".jp-InputPrompt").first
        before = prompt.inner_text()
        cell.locator(".cm-content").click()
        self.page.keyboard.press("Control+Enter")
        self.until(lambda: prompt.inner_text() != before and re.search(r"\d", prompt.inner_text()))
        return cell

    def handle(self, slider):
        """The handle of a slider, by its description, as the Tab key reaches it."""
        row = self.lab.locator(".widget-inline-hbox", has=self.page.locator(".widget-label", has_text=slider))
        return row.locator(".noUi-handle").first

    def press(self, slider, key, times=1):
        """Move a slider by keyboard."""
        self.handle(slider).focus()
        for _ in range(times):
            self.page.keyboard.press(key)

    def choose_file(self, path, which=0):
        """Upload a file by one of the lab's upload buttons."""
        with self.page.expect_file_chooser() as chooser:
            self.lab.locator(".widget-upload").nth(which).click()
        chooser.value.set_files(path)

    def shot(self, what):
        """Keep a picture of the screen in build/browser."""
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SHOTS / f"{self.name}_{what}.png")


@pytest.fixture
def open_notebook(browser, server, request):
    """open_notebook(name, *sources) writes a notebook of these cells, or takes one notebook node, and opens it."""
    contexts, opened = [], []

    def open_it(name, *sources):
        notebook = sources[0]
        if not hasattr(notebook, "cells"):
            notebook = new_notebook(cells=[new_code_cell(source) for source in sources])
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, server.folder / f"{name}.ipynb")
        context = browser.new_context(viewport=PROJECTOR)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(SHORT)
        # a workspace of its own: the default one opens the last test's notebook, too
        page.goto(f"{server.url}/lab/workspaces/{name}/tree/notebooks/{name}.ipynb?token={server.token}", timeout=LONG)
        page.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=LONG)
        page.get_by_text(re.compile(r"\(ipykernel\) \| (Idle|Unknown)")).wait_for(timeout=LONG)
        opened.append(Notebook(page, name))
        return opened[-1]

    yield open_it
    if getattr(request.node, "failed", False):
        for notebook in opened:
            notebook.shot("failed")
    for context in contexts:
        context.close()
    _end_kernels(server)
