"""The lab as a person sees it: JupyterLab in Chromium, started by the README's first command.

Needs a Chromium on this machine (Debian's package, or the one CHROMIUM names); says so where there
is none. Screenshots go to the folder SCREENSHOTS names, ``screenshots/`` by default.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from queue import Empty, Queue

import pytest

ROOT = Path(__file__).resolve().parents[1]
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chrome")
SCREENSHOTS = Path(os.environ.get("SCREENSHOTS", ROOT / "screenshots"))

pytestmark = [
    pytest.mark.skipif(not CHROMIUM, reason="no Chromium here: apt-get install chromium"),
    # One browser at a time is enough for two processors.
    pytest.mark.xdist_group("browser"),
]

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
IDLE = """() => {
  const status = document.querySelector('.jp-Notebook-ExecutionIndicator');
  const waiting = [...document.querySelectorAll('.jp-InputPrompt')]
    .some(prompt => prompt.textContent.includes('[*]'));
  return status && status.getAttribute('data-status') === 'idle' && !waiting;
}"""


@pytest.fixture(scope="module")
def jupyterlab(tmp_path_factory):
    """JupyterLab as `python -m labkit lab` starts it, with a local AWS of its own; its URL."""
    home = tmp_path_factory.mktemp("browser")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "LABKIT_RUNTIME_DIR": str(home / "run"),
        "LABKIT_HOME": str(home / "home"),
        "JUPYTER_CONFIG_DIR": str(home / "jupyter"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
    }
    options = ["--no-browser", f"--port={port}", "--IdentityProvider.token=test"]
    if hasattr(os, "getuid") and os.getuid() == 0:
        options.append("--allow-root")
    process = subprocess.Popen(
        [sys.executable, "-m", "labkit", "lab", "--", *options],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    lines: Queue[str] = Queue()
    threading.Thread(target=lambda: [lines.put(line) for line in process.stdout], daemon=True).start()
    said = ""
    try:
        while f":{port}/lab" not in said:
            said += lines.get(timeout=60)
    except Empty:
        process.kill()
        pytest.fail(f"JupyterLab did not start:\n{said}")
    yield f"http://127.0.0.1:{port}"
    if os.name == "posix":
        os.killpg(process.pid, signal.SIGTERM)
    process.terminate()
    process.wait(30)
    subprocess.run([sys.executable, "-m", "labkit", "down"], cwd=ROOT, env=environment)


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser):
    page = browser.new_page(viewport={"width": 1300, "height": 1000})
    page.problems = []
    page.on("console", lambda m: page.problems.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    yield page
    page.close()


def run_all(page):
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()
    page.wait_for_selector(".jp-OutputArea-output", timeout=60_000)
    page.wait_for_function(IDLE, timeout=120_000, polling=250)


def outputs(page, kind):
    return page.locator(f".jp-OutputArea-output[data-mime-type='{kind}']")


def test_the_first_command_opens_the_first_notebook_and_it_runs(jupyterlab, page):
    # Where the command itself sends the browser.
    page.goto(f"{jupyterlab}/?token=test")
    page.wait_for_selector(".jp-MarkdownCell h1", timeout=60_000)
    page.wait_for_selector(".jp-RenderedMermaid svg, .jp-RenderedMermaid img", timeout=30_000)
    page.wait_for_function(IDLE, timeout=60_000, polling=250)
    assert page.get_by_text("Jupyter news").count() == 0, "the news question is asked"
    run_all(page)
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOTS / "00-start-here.png")
    assert page.locator("text=Local AWS on this machine").count() >= 1
    planned = outputs(page, "application/vnd.jupyter.error")
    names = [re.sub(r"\s.*", "", text, flags=re.S) for text in planned.all_inner_texts()]
    assert all("NoSuchKey" in text for text in planned.all_inner_texts()), names
    assert page.problems == []


def test_a_notebook_opened_directly_runs_and_shows_its_pictures(jupyterlab, page):
    page.goto(f"{jupyterlab}/lab/workspaces/two/tree/notebooks/08-metrics-and-charts.ipynb?token=test")
    page.wait_for_selector(".jp-MarkdownCell h1", timeout=60_000)
    page.wait_for_function(IDLE, timeout=60_000, polling=250)
    run_all(page)
    page.get_by_role("heading", name="Why is the first run slow?").scroll_into_view_if_needed()
    charts = page.locator(".jp-OutputArea-output figure img[alt]")
    charts.first.wait_for(timeout=30_000)
    assert all(len(alt or "") > 40 for alt in [charts.first.get_attribute("alt")])
    page.screenshot(path=SCREENSHOTS / "08-metrics-and-charts.png")
    assert page.problems == []
