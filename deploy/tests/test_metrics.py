"""What Prometheus says of the metrics of a server that runs."""

import subprocess

from support import ROOT, Test

from urllib.request import urlopen

PROMTOOL = ROOT / "target/tools/prometheus/usr/bin/promtool"
PORT = 4640


class Metrics(Test):
    def setUp(self) -> None:
        super().setUp()
        url = self.server(PORT, HERENOW_METRICS_FROM="127.0.0.0/8")
        with urlopen(f"{url}/metrics") as answer:
            self.page = answer.read().decode()

    def test_promtool_finds_nothing_to_complain_of(self) -> None:
        command = [PROMTOOL, "check", "metrics"]
        checked = subprocess.run(command, input=self.page, capture_output=True, text=True)
        self.assertEqual((checked.returncode, checked.stdout, checked.stderr), (0, "", ""))
