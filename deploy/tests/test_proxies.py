"""Browsers and backends through a real nginx and a real Caddy, configured by the files of this folder
but for addresses, ports and certificates."""

import http.client
import json
import re
import shutil
import socket
import ssl
import subprocess
import threading
import unittest
from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from support import ADDRESS, DEPLOY, PATIENCE_S, Test, run, talk, until

SERVER_PORT, HTTP_PORT, HTTPS_PORT = 4610, 4611, 4612
# How long a client may be silent by default (presenceTTL), before the server itself ends the connection.
PRESENCE_TTL_MS = 60_000
EVENTS = "/api/presence/channels/presence%3Alobby/events"


class Proxied(Test):
    """What holds through every proxy. Not a test itself: each proxy's test extends it."""

    __test__ = False

    def proxy(self, upstream: str) -> subprocess.Popen:
        """Starts the proxy, and sets `self.authority` to a file with what signs its certificate."""
        raise NotImplementedError

    def before(self, upstream: str) -> None:
        process = self.proxy(upstream)

        def listens() -> bool:
            self.assertIsNone(process.poll(), "the proxy has ended")
            return self.listens()

        until("the proxy listens", listens)

    def listens(self) -> bool:
        # Caddy makes its certificates after it has begun to listen.
        try:
            self.context = ssl.create_default_context(cafile=self.authority)
            # With TLS 1.3 a session ticket makes the socket readable without data in it, and the
            # WebSocket client of these tests then blocks in a read that nothing ends.
            self.context.maximum_version = ssl.TLSVersion.TLSv1_2
            with socket.create_connection((ADDRESS, HTTPS_PORT)) as raw:
                self.context.wrap_socket(raw, server_hostname="localhost").close()
        except (OSError, ssl.SSLError):
            return False
        return True

    def server_behind_proxy(self, **settings: str) -> None:
        # The proxy connects from the address of this machine that the system chooses.
        self.before(self.server(SERVER_PORT, HERENOW_TRUSTED_PROXIES="127.0.0.1," + ADDRESS, **settings))

    def open(self, source: str = "127.0.0.1", headers: dict[str, str] | None = None):
        raw = socket.create_connection((ADDRESS, HTTPS_PORT), PATIENCE_S, source_address=(source, 0))
        try:
            return self.enterContext(connect(
                "wss://localhost/api/realtime", sock=raw, ssl=self.context,
                server_hostname="localhost", additional_headers=headers, proxy=None,
            ))
        except InvalidStatus:
            raw.close()
            raise

    def request(self, method: str, path: str, **options):
        raw = socket.create_connection((ADDRESS, HTTPS_PORT), PATIENCE_S)
        client = http.client.HTTPConnection("localhost")
        client.sock = self.context.wrap_socket(raw, server_hostname="localhost")
        self.addCleanup(client.close)
        client.request(method, path, **options)
        return client.getresponse()

    def test_a_websocket_is_opened_and_carries_messages_both_ways(self) -> None:
        self.server_behind_proxy()
        talk(self.open())

    def test_health_is_public_and_metrics_are_not(self) -> None:
        self.server_behind_proxy(HERENOW_METRICS_FROM="127.0.0.0/8")
        self.assertEqual(self.request("GET", "/health/ready").status, 200)
        for path in ["/metrics", "/", "/other"]:
            self.assertEqual(self.request("GET", path).status, 404, path)

    def test_clients_are_told_apart_by_their_own_addresses_whatever_they_forge(self) -> None:
        self.server_behind_proxy(HERENOW_MAX_UNAUTHENTICATED_PER_ADDRESS="1")
        self.open("127.9.9.1")
        for forged in ({}, {"X-Forwarded-For": "192.0.2.1"}, {"Forwarded": "for=192.0.2.1"}):
            with self.assertRaises(InvalidStatus, msg=str(forged)) as refused:
                self.open("127.9.9.1", forged)
            self.assertEqual(refused.exception.response.status_code, 429)
        self.open("127.9.9.2")

    def test_each_event_of_a_stream_comes_at_once(self) -> None:
        asked, heard, upstream = self.stream()
        self.before(upstream)
        answer = self.request("GET", EVENTS)
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.readline(), b"data: first\n")
        # The second is sent only now: had the proxy waited for more, the first would not be here.
        heard.set()
        self.assertEqual(answer.readline(), b"\n")
        self.assertEqual(answer.readline(), b"data: second\n")
        self.assertEqual(asked, [EVENTS])

    def stream(self):
        """An upstream with one event stream. Returns what it was asked, what lets it go on, its URL."""
        listener = socket.create_server((ADDRESS, SERVER_PORT))
        self.addCleanup(listener.close)
        asked, heard = [], threading.Event()

        def serve() -> None:
            peer, _ = listener.accept()
            with peer:
                asked.append(peer.recv(65536).split(b" ")[1].decode())
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
                peer.sendall(b"data: first\n\n")
                if heard.wait(PATIENCE_S):
                    peer.sendall(b"data: second\n\n")

        threading.Thread(target=serve, daemon=True).start()
        return asked, heard, f"http://{ADDRESS}:{SERVER_PORT}"


class Nginx(Proxied):
    __test__ = True

    # Longer than the time-outs of the tests.
    SILENCE_S = 4
    # What stands around the site.
    timeouts = ""
    # What a test changes in the site, as patterns and replacements.
    changes: list[tuple[str, str]] = []

    def proxy(self, upstream: str) -> subprocess.Popen:
        certificate, key = self.folder / "certificate.pem", self.folder / "key.pem"
        run(
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "1",
            "-keyout", key, "-out", certificate,
        )
        self.authority = certificate
        site = (DEPLOY / "nginx.conf").read_text()
        for pattern, replacement in [
            (r"listen \[::\]:\d+.*\n", "\n"),
            (r"listen 80;", f"listen {ADDRESS}:{HTTP_PORT};"),
            (r"listen 443 ", f"listen {ADDRESS}:{HTTPS_PORT} "),
            (r"server 127\.0\.0\.1:4600;", f"server {urlsplit(upstream).netloc};"),
            (r"/\S*fullchain\.pem", str(certificate)),
            (r"/\S*privkey\.pem", str(key)),
            (r"server_name presence\.example\.com", "server_name localhost"),
            *self.changes,
        ]:
            site, count = re.subn(pattern, replacement, site)
            self.assertGreater(count, 0, pattern)
        temporary = "".join(
            f"{kind}_temp_path {self.folder}/{kind};" for kind in
            ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        )
        # One process in the foreground, which leaves nothing outside its folder.
        config = self.folder / "nginx.conf"
        config.write_text(
            f"daemon off; master_process off; pid {self.folder}/pid; error_log stderr error;"
            f"events {{ worker_connections 64; }} http {{ access_log off; {temporary} {self.timeouts} {site} }}"
        )
        program = shutil.which("nginx") or "/usr/sbin/nginx"
        return self.start(program, "-p", self.folder, "-e", "stderr", "-c", config)

    def test_plain_http_is_redirected(self) -> None:
        self.server_behind_proxy()
        client = http.client.HTTPConnection(ADDRESS, HTTP_PORT, timeout=PATIENCE_S)
        self.addCleanup(client.close)
        client.request("GET", "/health", headers={"Host": "localhost"})
        answer = client.getresponse()
        self.assertEqual((answer.status, answer.headers["Location"]), (301, "https://localhost/health"))

    def test_a_body_above_64_kib_is_refused(self) -> None:
        self.server_behind_proxy()
        answer = self.request("POST", "/api/presence/users/query", body=b"x" * (64 * 1024 + 1))
        self.assertEqual(answer.status, 413)

    def test_a_websocket_may_be_silent_for_longer_than_the_time_out_of_nginx(self) -> None:
        """nginx's own time-out is 60 s, which is compiled in. Here the site is within an `http` block whose
        time-out is 1 s: what the site says holds instead, or nginx would end the connection."""
        self.timeouts = "proxy_read_timeout 1s; proxy_send_timeout 1s;"
        self.server_behind_proxy()
        socket = self.open()
        talk(socket)
        self.assertRaises(TimeoutError, socket.recv, timeout=self.SILENCE_S)
        socket.send('{"type":"ping"}')
        self.assertEqual(json.loads(socket.recv(timeout=PATIENCE_S))["type"], "pong")

    def test_without_its_time_outs_the_site_would_lose_silent_websockets(self) -> None:
        self.timeouts = "proxy_read_timeout 1s; proxy_send_timeout 1s;"
        self.changes = [(r" *proxy_(read|send)_timeout \d+s;\n", "")]
        self.server_behind_proxy()
        socket = self.open()
        talk(socket)
        self.assertRaises(ConnectionClosed, socket.recv, timeout=PATIENCE_S)

    def test_the_time_outs_of_the_site_are_longer_than_a_connection_may_be_silent(self) -> None:
        site = (DEPLOY / "nginx.conf").read_text()
        for direction in ["read", "send"]:
            timeout = re.search(rf"proxy_{direction}_timeout (\d+)s;", site)
            self.assertGreater(int(timeout[1]) * 1000, PRESENCE_TTL_MS, direction)


class Caddy(Proxied):
    __test__ = True

    def proxy(self, upstream: str) -> subprocess.Popen:
        data = self.folder / "data"
        self.authority = data / "caddy/pki/authorities/local/root.crt"
        config = self.folder / "Caddyfile"
        config.write_text(
            f"{{\n admin off\n local_certs\n skip_install_trust\n"
            f" auto_https disable_redirects\n http_port {HTTP_PORT}\n https_port {HTTPS_PORT}\n"
            f" default_bind {ADDRESS}\n log {{\n level ERROR\n }}\n}}\nimport {DEPLOY}/Caddyfile\n"
        )
        settings = {
            "PATH": "/usr/local/bin:/usr/bin", "HOME": str(self.folder), "XDG_DATA_HOME": str(data),
            "XDG_CONFIG_HOME": str(self.folder), "HERENOW_DOMAIN": "localhost",
            "HERENOW_UPSTREAM": urlsplit(upstream).netloc,
        }
        return self.start("caddy", "run", "--adapter", "caddyfile", "--config", config, env=settings)

    def test_the_file_is_formatted_and_valid(self) -> None:
        run("caddy", "validate", "--adapter", "caddyfile", "--config", DEPLOY / "Caddyfile")
        formatted = run("caddy", "fmt", DEPLOY / "Caddyfile")
        self.assertEqual((DEPLOY / "Caddyfile").read_text(), formatted)


def load_tests(loader, _tests, _pattern):
    return unittest.TestSuite(map(loader.loadTestsFromTestCase, [Nginx, Caddy]))
