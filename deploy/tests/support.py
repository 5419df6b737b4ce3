"""A herenow of its own for a test, and what waits for it. Knows nothing of proxies and packages."""

import faulthandler
import json
import os
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
BINARY = Path(os.environ.get("HERENOW_BIN", ROOT / "target/debug/herenow"))
TOOLS = ROOT / "target/deploy-venv/bin"
SECRET = "a secret of the tests, long enough for HS256"
# Far above what anything here takes; a test that waits this long has failed.
PATIENCE_S = 30
# All tests together take half a minute on an idle machine. If one hangs, its stack is printed and they end.
ALL_TESTS_S = 900
# A loopback address that no other program of this machine listens on, so that its ports are free.
ADDRESS = f"127.77.{os.getpid() >> 8 & 255}.{os.getpid() & 255}"


faulthandler.dump_traceback_later(ALL_TESTS_S, exit=True)


def environment(**settings: str) -> dict[str, str]:
    """The environment without the settings of the one who runs the tests."""
    prefixes = ("HERENOW_", "JWT_", "METRICS_", "SERVICE_", "WEBHOOK_", "NOTIFY_", "WATCHDOG_")
    mine = {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}
    return mine | settings


def run(*command: str | Path, **options) -> str:
    """The standard output of a command that succeeds."""
    done = subprocess.run(
        [str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options
    )
    if done.returncode != 0:
        raise AssertionError(f"{command} exits with {done.returncode}:\n{done.stdout}")
    return done.stdout


def until(what: str, condition) -> None:
    """Waits until the condition holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {PATIENCE_S} s")
        time.sleep(0.02)


def is_healthy(url: str, binary: Path = BINARY) -> bool:
    health = [str(binary), "health", "--url", url]
    return subprocess.run(health, capture_output=True, env=environment()).returncode == 0


def token(user: str) -> str:
    return run(BINARY, "token", "--user", user, env=environment(JWT_USER_SECRET=SECRET)).strip()


class Test(unittest.TestCase):
    """With a folder that is gone after the test, and processes that are ended."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="herenow-deploy-", ignore_cleanup_errors=True)
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def start(self, *command: str | Path, **options) -> subprocess.Popen:
        process = subprocess.Popen([str(word) for word in command], **options)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def server(self, port: int, **settings: str) -> str:
        """Starts a herenow and returns its URL."""
        listen = f"{ADDRESS}:{port}"
        log = (self.folder / "herenow.log").open("w")
        self.addCleanup(log.close)
        self.start(
            BINARY, "serve", "--listen", listen, "--loops", "1",
            cwd=self.folder, stderr=log, env=environment(JWT_USER_SECRET=SECRET, **settings),
        )
        url = f"http://{listen}"
        until("the server is ready", lambda: is_healthy(url))
        return url


def talk(socket) -> None:
    """Authenticates, subscribes and tracks over a WebSocket, and sees itself."""

    def expect(kind: str) -> dict:
        message = json.loads(socket.recv(timeout=PATIENCE_S))
        assert message["type"] == kind, message
        return message

    def send(**message) -> None:
        socket.send(json.dumps(message))

    send(type="auth", token=token("jane"))
    expect("auth_success")
    send(type="subscribe", channel="presence:lobby")
    expect("subscribed")
    expect("presence_sync")
    send(type="presence_join", channel="presence:lobby", state={"n": 1})
    joined = expect("presence_join")
    assert joined["userId"] == "jane", joined
