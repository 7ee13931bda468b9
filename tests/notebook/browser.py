"""A learner in a real browser: JupyterLab as `tito notebook` opens it, in chromium without a window.

    python browser.py       with selenium (tests/notebook/browser.txt), chromium and chromedriver; TITO names the program

Opens the notebook, writes a solution with a known mistake, runs all cells, reads which check failed, mends it, runs again, saves.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

ROOT = Path(__file__).resolve().parents[2]
TITO = os.environ.get("TITO", str(ROOT / "build/cli/tito"))
PATIENCE = 420  # the first cell waits until what it stands on is compiled
EXERCISE = "Error::compute_what(bool include_backtrace) const"
WRONG, RIGHT = "if (!backtrace_.empty())", "if (include_backtrace && !backtrace_.empty())"
BODY = """std::string Error::compute_what(bool include_backtrace) const {
  static_cast<void>(include_backtrace);
  std::string text = msg_;
  if (context_.size() == 1) {
    text += " (" + context_[0] + ")";
  } else {
    for (const std::string& line : context_) text += "\\n  " + line;
  }
  CONDITION text += "\\n" + backtrace_;
  return text;
}"""

# All cells are in the page, not only those in sight.
SETTINGS = '{"windowingMode": "none"}'


class Lab:
    """JupyterLab in a workspace, as the learner starts it."""

    def __init__(self, workspace):
        settings = workspace.parent / "settings"
        (settings / "@jupyterlab/notebook-extension").mkdir(parents=True)
        (settings / "@jupyterlab/notebook-extension/tracker.jupyterlab-settings").write_text(SETTINGS)
        self.log = (workspace.parent / "lab.log").open("w+")
        self.process = subprocess.Popen(
            [TITO, "notebook", "00", "--no-open"], cwd=workspace, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, start_new_session=True,
            env={**os.environ, "JUPYTERLAB_SETTINGS_DIR": str(settings), "JUPYTER_CONFIG_DIR": str(settings), "TITO_ROOT": os.environ.get("TITO_ROOT", str(ROOT))})

    def address(self):
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            text = Path(self.log.name).read_text()
            found = re.search(r"http://(?:localhost|127\.0\.0\.1):\d+/\S*token=\w+", text)
            if found:
                return found.group()
            assert self.process.poll() is None, "tito notebook ended:\n" + text
            time.sleep(0.5)
        raise AssertionError("JupyterLab printed no address:\n" + Path(self.log.name).read_text())

    def close(self):
        os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.log.close()


def start_browser():
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for word in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--window-size=1400,1200"):
        options.add_argument(word)
    browser = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    browser.set_script_timeout(60)
    return browser


class Browser(unittest.TestCase):
    def id(self):
        return f"in a browser {self._testMethodName}"

    def setUp(self):
        self.place = tempfile.TemporaryDirectory(prefix="tito_browser_")
        self.addCleanup(self.place.cleanup)
        folder = Path(self.place.name)
        self.workspace = folder / "my-torch"
        subprocess.run([TITO, "init", str(self.workspace)], check=True, capture_output=True,
                       env={**os.environ, "TITO_ROOT": os.environ.get("TITO_ROOT", str(ROOT))}, cwd=folder)
        self.lab = Lab(self.workspace)
        self.addCleanup(self.lab.close)
        self.browser = start_browser()
        self.addCleanup(self.browser.quit)

    def wait(self, what, condition, seconds=PATIENCE):
        try:
            return WebDriverWait(self.browser, seconds, poll_frequency=0.5).until(lambda _: condition())
        except Exception as error:
            text = self.browser.execute_script("return document.body.innerText")[-3000:]
            raise AssertionError(f"{what}: not within {seconds} s\n{text}") from error

    def one(self, selector, text=""):
        found = [element for element in self.browser.find_elements(By.CSS_SELECTOR, selector) if text in element.text]
        return found[0] if found else None

    def cell_with(self, text):
        """The code cell whose source has this text."""
        return self.browser.execute_script(
            "return [...document.querySelectorAll('.jp-Notebook .jp-CodeCell')].find("
            "cell => (cell.querySelector('.cm-content')?.innerText ?? '').includes(arguments[0])) ?? null", text)

    def write(self, cell, text):
        editor = cell.find_element(By.CSS_SELECTOR, ".cm-content")
        self.browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", editor)
        editor.click()
        ActionChains(self.browser).key_down(Keys.CONTROL).send_keys("a").key_up(Keys.CONTROL).perform()
        self.browser.execute_cdp_cmd("Input.insertText", {"text": text})

    def choose(self, menu, command):
        self.one(".lm-MenuBar-item", menu).click()
        self.wait(f"the menu {menu}", lambda: self.one(f".lm-Menu-item[data-command='{command}']"), 30).click()

    def run_all(self):
        self.choose("Run", "runmenu:run-all")

    def output_of(self, text):
        cell = self.cell_with(text)
        return cell.find_element(By.CSS_SELECTOR, ".jp-Cell-outputWrapper").text if cell else ""

    def test_a_solution_is_written_fails_is_mended_and_saved(self):
        self.browser.get(self.lab.address())
        self.wait("the notebook", lambda: self.cell_with(EXERCISE))
        self.wait("the kernel", lambda: self.one(".jp-NotebookPanel-toolbar", "C++20 (TinyTorch)"), 120)

        contract = self.cell_with(EXERCISE).find_element(By.CSS_SELECTOR, ".cm-content").text.split("std::string Error::compute_what")[0]
        self.assertIn("TODO: Put message, context and backtrace together.", contract)
        self.write(self.cell_with(EXERCISE), contract + BODY.replace("CONDITION", WRONG))
        self.wait("what was typed", lambda: self.cell_with(WRONG), 30)
        self.run_all()
        test = 'TEST_CASE("Error: the message for a user'
        said = self.wait("the failed check", lambda: "TestFailed" in self.output_of(test) and self.output_of(test))
        self.assertIn("FAILED  Error: the message for a user, the whole text for who debugs", said)
        self.assertIn('CHECK_EQ( std::string(error.what_without_backtrace()), "no" )', said)
        self.assertIn("add the backtrace only when include_backtrace is true", said)

        self.write(self.cell_with(EXERCISE), contract + BODY.replace("CONDITION", RIGHT))
        self.run_all()
        self.wait("the test that passes", lambda: "1 test passed" in self.output_of(test))
        # The next exercise is still empty, and says so.
        self.wait("the next exercise", lambda: "00 mt19937_temper: " in self.output_of('TEST_CASE("mt19937_temper'))

        self.choose("File", "docmanager:save")
        lesson = self.workspace / "modules/00_setup/setup_dev.cpp"
        self.wait("the saved file", lambda: RIGHT in lesson.read_text() and WRONG not in lesson.read_text(), 60)
        self.assertIn(RIGHT, (self.workspace / "modules/00_setup/setup_dev.ipynb").read_text())


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    from run import Lines

    result = Lines()
    unittest.defaultTestLoader.loadTestsFromTestCase(Browser).run(result)
    sys.exit(0 if result.wasSuccessful() else 1)
