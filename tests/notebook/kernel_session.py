"""A running kernel and what a test asks of it."""

import os
import unittest

from jupyter_client.manager import start_new_kernel

PATIENCE = 300  # the first cell waits until what it stands on is compiled


class KernelSession(unittest.TestCase):
    """A kernel for all the tests of a class, which forgets between two of them."""

    @classmethod
    def setUpClass(cls):
        cls.manager, cls.client = start_new_kernel(kernel_name="tinytorch", env={**os.environ, "TITO_MODULE": "00"}, startup_timeout=60)

    @classmethod
    def tearDownClass(cls):
        cls.client.stop_channels()
        cls.manager.shutdown_kernel(now=True)

    def setUp(self):
        self.run_cell("%forget")

    def start(self, code, cell=None):
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False, "stop_on_error": False}
        message = self.client.session.msg("execute_request", content)
        if cell:
            message["metadata"]["cellId"] = cell
        self.client.shell_channel.send(message)
        return message["header"]["msg_id"]

    def finish(self, number):
        """What the cell printed, what it showed, and its reply."""
        text, shown, streams = "", [], set()
        while True:
            message = self.client.get_iopub_msg(timeout=PATIENCE)
            if message["parent_header"].get("msg_id") != number:
                continue
            content = message["content"]
            if message["msg_type"] == "stream":
                text += content["text"]
                streams.add(content["name"])
            elif message["msg_type"] == "display_data":
                shown.append(content["data"])
            elif message["msg_type"] == "status" and content["execution_state"] == "idle":
                break
        while True:
            reply = self.client.get_shell_msg(timeout=PATIENCE)
            if reply["parent_header"].get("msg_id") == number:
                self.assertLessEqual(streams, {"stdout"})  # nbgrader takes points for anything else
                return text, shown, reply["content"]

    def run_cell(self, code, cell=None):
        return self.finish(self.start(code, cell))

    def good(self, code, cell=None):
        text, shown, reply = self.run_cell(code, cell)
        self.assertEqual(reply["status"], "ok", reply)
        return text if not shown else (text, shown)

    def bad(self, code, cell=None):
        _, _, reply = self.run_cell(code, cell)
        self.assertEqual(reply["status"], "error", reply)
        return reply["ename"], "\n".join(reply["traceback"])
