"""A real ComfyUI process with nothing but this pack, and a client for its API."""

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from comfy_home import PACK
from websocket import WebSocketTimeoutException, create_connection

LINK_NAME = "video-canvas"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class Outcome:
    """How a prompt ended."""

    kind: str
    """execution_success, execution_error or execution_interrupted"""
    message: str
    cached: set
    executed: set
    seconds: float
    history: dict


@dataclass
class Server:
    """A running server and the folder it works in."""

    port: int
    base: Path
    process: subprocess.Popen

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def get(self, path):
        with urllib.request.urlopen(self.url + path, timeout=60) as answer:
            return answer.read()

    def json(self, path):
        return json.loads(self.get(path))

    def post(self, path, content=None):
        """(status, answer)"""
        request = urllib.request.Request(
            self.url + path, json.dumps(content or {}).encode(), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"{}")

    def run(self, prompt, timeout=300, on_message=None):
        """Queue an API prompt and follow it to its end."""
        client = uuid.uuid4().hex
        connection = create_connection(f"ws://127.0.0.1:{self.port}/ws?clientId={client}", timeout=timeout)
        started = time.monotonic()
        try:
            status, answer = self.post("/prompt", {"prompt": prompt, "client_id": client})
            assert status == 200, f"the prompt was refused: {json.dumps(answer)[:2000]}"
            return self._follow(connection, answer["prompt_id"], started, timeout, on_message)
        finally:
            connection.close()

    def _follow(self, connection, prompt_id, started, timeout, on_message):
        cached, executed = set(), set()
        while time.monotonic() - started < timeout:
            message = connection.recv()
            if isinstance(message, bytes):
                continue
            message = json.loads(message)
            kind, data = message["type"], message["data"]
            if data.get("prompt_id") not in (None, prompt_id):
                continue
            if on_message:
                on_message(kind, data)
            if kind == "execution_cached":
                cached |= set(data["nodes"])
            if kind == "executing" and data["node"]:
                executed.add(data["node"])
            if kind in ("execution_success", "execution_error", "execution_interrupted"):
                seconds = time.monotonic() - started
                return Outcome(
                    kind, data.get("exception_message", "").strip(), cached, executed, seconds, self._history(prompt_id)
                )
        raise WebSocketTimeoutException(f"the prompt did not end within {timeout} s")

    def _history(self, prompt_id):
        for _ in range(100):  # the history is written just after the last message
            if found := self.json(f"/history/{prompt_id}").get(prompt_id):
                return found
            time.sleep(0.05)
        return {}

    def view(self, item):
        """The bytes of an output named in the history."""
        return self.get(
            "/view?" + urllib.parse.urlencode({key: item[key] for key in ("filename", "subfolder", "type")})
        )


@contextmanager
def running(root: Path, base: Path):
    """Start ComfyUI from `root` on the CPU, working in `base`; ends with the block."""
    for folder in ("custom_nodes", "input", "output", "user", "models", "temp"):
        (base / folder).mkdir(parents=True, exist_ok=True)
    link = base / "custom_nodes" / LINK_NAME
    if not link.exists():
        link.symlink_to(PACK)
    port = free_port()
    command = [
        sys.executable,
        "main.py",
        "--cpu",
        "--port",
        str(port),
        "--base-directory",
        str(base),
        "--database-url",
        f"sqlite:///{base}/comfyui.db",
    ]
    command += ["--disable-all-custom-nodes", "--whitelist-custom-nodes", LINK_NAME, "--disable-api-nodes"]
    with (base / "server.log").open("w") as log:
        process = subprocess.Popen(command, cwd=root, stdout=log, stderr=subprocess.STDOUT)
    server = Server(port, base, process)
    try:
        _wait_until_ready(server)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()


def _wait_until_ready(server, timeout=180):
    started = time.monotonic()
    while time.monotonic() - started < timeout:
        if server.process.poll() is not None:
            break
        try:
            server.get("/system_stats")
            return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.5)
    log = (server.base / "server.log").read_text()[-3000:]
    raise RuntimeError(f"ComfyUI did not start:\n{log}")
