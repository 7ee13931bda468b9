"""Completion and inspection: by clangd where there is one, otherwise by the names that cells and headers have."""

import json
import os
import queue
import re
import shlex
import shutil
import subprocess
import threading
from pathlib import Path

WORD = re.compile(r"[A-Za-z_]\w*$")
WITHOUT_CLANGD = "\n(for types and members install clangd: apt-get install clangd)"
PATIENCE = 20.0  # seconds; the first answer waits until clangd has read the package's headers


class Clangd:
    """As much of the language server protocol as is needed for one file."""

    def __init__(self, folder, command):
        self.file = Path(folder) / "cell.cpp"
        self.uri = self.file.as_uri()
        self.version = 0
        self.number = 0
        self.answers = queue.Queue()
        entry = [{"directory": str(command["directory"]), "file": str(self.file), "arguments": [*command["arguments"], str(self.file)]}]
        (Path(folder) / "compile_commands.json").write_text(json.dumps(entry))
        self.process = subprocess.Popen(
            ["clangd", f"--compile-commands-dir={folder}", "--background-index=false", "-j=2", "--log=error", "--pch-storage=memory",
             "--limit-results=100", "--header-insertion=never"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=command["directory"], start_new_session=True)
        threading.Thread(target=self.listen, daemon=True).start()
        self.ask("initialize", {"processId": os.getpid(), "rootUri": None, "capabilities": {
            "textDocument": {"completion": {"completionItem": {"snippetSupport": False}}, "hover": {"contentFormat": ["plaintext"]}}}})
        self.tell("initialized", {})

    def listen(self):
        stream = self.process.stdout
        while True:
            length = 0
            while True:
                line = stream.readline()
                if not line:
                    self.answers.put(None)
                    return
                if line in (b"\r\n", b"\n"):
                    break
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            message = json.loads(stream.read(length))
            if "id" in message and "method" not in message:
                self.answers.put(message)

    def send(self, message):
        text = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(text) + text)
        self.process.stdin.flush()

    def tell(self, method, parameters):
        self.send({"method": method, "params": parameters})

    def ask(self, method, parameters):
        self.number += 1
        self.send({"id": self.number, "method": method, "params": parameters})
        while True:
            answer = self.answers.get(timeout=PATIENCE)
            if answer is None:
                raise OSError("clangd ended")
            if answer.get("id") == self.number:
                return answer.get("result")

    def set_text(self, text):
        self.version += 1
        if self.version == 1:
            self.tell("textDocument/didOpen", {"textDocument": {"uri": self.uri, "languageId": "cpp", "version": 1, "text": text}})
        else:
            self.tell("textDocument/didChange", {"textDocument": {"uri": self.uri, "version": self.version}, "contentChanges": [{"text": text}]})

    def close(self):
        self.process.kill()
        self.process.wait()


class LanguageHelp:
    def __init__(self):
        self.notebook = self.workshop = self.clangd = None
        self.failed = not shutil.which("clangd")

    def prepare(self, notebook, workshop):
        self.notebook, self.workshop = notebook, workshop

    def close(self):
        if self.clangd is not None:
            self.clangd.close()
        self.clangd = None

    def server(self):
        """clangd, started when it is first needed; None where it is not to be had."""
        if self.failed or self.workshop is None:
            return None
        if self.clangd is not None and self.clangd.process.poll() is None:
            return self.clangd
        package = self.workshop.package
        words = [word for word in shlex.split(package["compile"]["-O0"]) if not word.startswith("-W")]
        words += ["-include", str(self.workshop.root / package["header"]["-O0"]), "-I", package["stand_ins"]]
        folder = self.workshop.folder / "clangd"
        folder.mkdir(exist_ok=True)
        try:
            self.clangd = Clangd(folder, {"directory": self.workshop.root, "arguments": words})
        except (OSError, queue.Empty):
            self.failed = True
            return None
        return self.clangd

    def placed(self, code, position):
        """The cell behind those that count, as one text, and the line and column of the cursor in it."""
        from . import cells

        notebook = self.notebook
        parts = []
        for cell in notebook.cells if notebook else []:
            if not cell.broken and cell.source.strip() != code.strip():
                parts += notebook.declarations(cell)
        before = "\n".join(line for part in parts for line in part.split("\n") if not line.startswith("#line"))
        cell = cells.parse("", 0, code)
        opening = "namespace tinytorch {\n" + ("inline void tito_cell() {\n" if cell.does_something else "")
        head = before + "\n" + opening
        ahead = code[:position]
        column = len(ahead.rpartition("\n")[2].encode("utf-16-le")) // 2
        return head + code + "\n}" + "}" * cell.does_something, head.count("\n") + ahead.count("\n"), column

    def complete(self, code, position):
        word = WORD.search(code[:position])
        start = word.start() if word else position
        server = self.server()
        if server is not None:
            try:
                text, line, column = self.placed(code, position)
                server.set_text(text)
                answer = server.ask("textDocument/completion", {"textDocument": {"uri": server.uri}, "position": {"line": line, "character": column}})
                items = answer["items"] if isinstance(answer, dict) else answer or []
                items.sort(key=lambda item: item.get("sortText", item["label"]))
                names = [item.get("insertText") or item["label"].strip() for item in items]
                matches = list(dict.fromkeys(name for name in names if re.match(r"[A-Za-z_~]", name)))
                if matches:
                    return matches, start
            except (OSError, queue.Empty, ValueError):
                self.close()
                self.failed = True
        return self.known_names(word.group() if word else ""), start

    def known_names(self, beginning):
        names = set()
        for cell in self.notebook.cells if self.notebook else []:
            names |= cell.names()
        if self.workshop is not None:
            names |= header_names(self.workshop.root / self.workshop.package["include"])
        return sorted(name for name in names if beginning and name.startswith(beginning))

    def inspect(self, code, position):
        end = position + len(re.match(r"\w*", code[position:]).group())
        word = WORD.search(code[:end])
        if not word:
            return ""
        server = self.server()
        if server is not None:
            try:
                text, line, column = self.placed(code, word.start())
                server.set_text(text)
                answer = server.ask("textDocument/hover", {"textDocument": {"uri": server.uri}, "position": {"line": line, "character": column}})
                if answer and answer.get("contents", {}).get("value"):
                    return answer["contents"]["value"]
            except (OSError, queue.Empty, ValueError):
                self.close()
                self.failed = True
        known = self.declaration_of(word.group())
        return known + WITHOUT_CLANGD if known and not shutil.which("clangd") else known

    def declaration_of(self, name):
        """The comment and the declaration, where a cell has them."""
        for cell in reversed(self.notebook.cells if self.notebook else []):
            for item in cell.declared():
                if name not in item.names:
                    continue
                lines = cell.source.split("\n")
                first = item.line - 1
                while first > 0 and lines[first - 1].startswith("//") and not lines[first - 1].startswith("//|"):
                    first -= 1
                return "\n".join(lines[first:item.line - 1] + [item.prototype or item.text.split("{")[0].rstrip()])
        return ""


NAMES = {}


def header_names(folder):
    """Words that the package's headers have, read once."""
    if folder not in NAMES:
        words = set()
        for path in folder.rglob("*.h"):
            text = re.sub(r"//[^\n]*", "", path.read_text(errors="replace"))
            words.update(re.findall(r"\b[A-Za-z_]\w{2,}\b", text))
        NAMES[folder] = words
    return NAMES[folder]
