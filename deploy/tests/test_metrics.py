"""What Prometheus says of the metrics of a server that runs, and whether the dashboard asks for what is
there."""

import json
import re
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from urllib.request import urlopen

from support import ADDRESS, DEPLOY, ROOT, Test, run

PROMTOOL = ROOT / "target/tools/prometheus/usr/bin/promtool"
PORT = 4640
WEBHOOK_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
# What Grafana replaces in a query.
VARIABLES = {"$__rate_interval": "5m", "$instance": ".*"}


def queries() -> list[tuple[str, str]]:
    """The PromQL of each target of the dashboard, and its legend."""
    dashboard = json.loads((DEPLOY / "grafana-dashboard.json").read_text())
    targets = [target for panel in dashboard["panels"] for target in panel.get("targets", [])]
    return [(target["expr"], target["legendFormat"]) for target in targets]


class Quiet(SimpleHTTPRequestHandler):
    """Serves files without a log."""

    def log_message(self, *_) -> None:
        pass


class Metrics(Test):
    def setUp(self) -> None:
        super().setUp()
        # With the probe, a webhook and a key set from a URL, so that their metrics are there too. The endpoint is dead.
        webhook = {"url": f"http://{ADDRESS}:9/", "channels": ["presence:*"], "allowPrivateNetworks": True}
        config = {"realtime": {"webhooks": [webhook]}}
        (self.folder / "edgebase.config.json").write_text(json.dumps(config))
        settings = {
            "HERENOW_METRICS_FROM": "127.0.0.0/8",
            "HERENOW_TRUTH_PROBE_MS": "3600000",
            "JWT_JWKS_FILE": self.key_set(),
        }
        url = self.server(PORT, WEBHOOK_SECRET=WEBHOOK_SECRET, **settings)
        with urlopen(f"{url}/metrics") as answer:
            self.page = answer.read().decode()

    def key_set(self) -> str:
        """The URL of a key set."""
        # RFC 8037, appendix A.2.
        key = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
        (self.folder / "keys.json").write_text(json.dumps({"keys": [key]}))
        handler = partial(Quiet, directory=str(self.folder))
        issuer = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.addCleanup(issuer.server_close)
        self.addCleanup(issuer.shutdown)
        threading.Thread(target=issuer.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{issuer.server_port}/keys.json"

    def labels(self, name: str) -> set[str] | None:
        """The labels of a metric's samples, with those that a scrape adds. None if it has no sample."""
        samples = re.findall(rf"^{name}(?:\{{(.*)\}})? ", self.page, re.MULTILINE)
        if not samples:
            return None
        return {"instance", "job"} | {label for sample in samples for label in re.findall(r'(\w+)="', sample)}

    def test_promtool_finds_nothing_to_complain_of(self) -> None:
        command = [PROMTOOL, "check", "metrics"]
        checked = subprocess.run(command, input=self.page, capture_output=True, text=True)
        self.assertEqual((checked.returncode, checked.stdout, checked.stderr), (0, "", ""))

    def test_prometheus_can_read_each_query_of_the_dashboard(self) -> None:
        rules = []
        for number, (query, _) in enumerate(queries()):
            for variable, value in VARIABLES.items():
                query = query.replace(variable, value)
            self.assertNotIn("$", query)
            rules.append({"record": f"query:{number}", "expr": query})
        self.assertGreater(len(rules), 20)
        # JSON is YAML.
        file = self.folder / "rules.yaml"
        file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
        said = run(PROMTOOL, "check", "rules", file)
        self.assertIn(f"{len(rules)} rules found", said)

    def test_each_query_asks_for_metrics_and_labels_that_the_server_has(self) -> None:
        for query, legend in queries():
            names = re.findall(r"\b(?:herenow|process)_\w+", query)
            self.assertTrue(names, query)
            for name in names:
                labels = self.labels(name)
                self.assertIsNotNone(labels, f"no sample of {name}")
                used = re.findall(r'(\w+)=~?"', query)
                used += [label for by in re.findall(r"\bby \(([^)]+)\)", query) for label in by.split(", ")]
                used += re.findall(r"\{\{(\w+)\}\}", legend)
                self.assertLessEqual(set(used), labels, query)

    def test_each_metric_of_the_server_is_on_the_dashboard(self) -> None:
        kinds = re.findall(r"^# TYPE (\S+) (\S+)$", self.page, re.MULTILINE)
        samples = {name + ("_bucket" if kind == "histogram" else "") for name, kind in kinds}
        shown = {name for query, _ in queries() for name in re.findall(r"\b(?:herenow|process)_\w+", query)}
        self.assertEqual(samples - shown - {"herenow_connections_accepted_total"}, set())
