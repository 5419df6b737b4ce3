"""The Debian package in a root of its own: installed, started as its unit says, upgraded, removed and
purged, by a real dpkg and with its maintainer scripts. It is packed from the debug build, which is there."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import unittest
from pathlib import Path

from support import ADDRESS, DEPLOY, ROOT, Test, environment, is_healthy, run, until

PORT = 4630
TOOLS = ROOT / "target/tools/bin"


def build(version: str, folder: Path) -> Path:
    package = folder / f"herenow_{version}.deb"
    run(
        DEPLOY / "build-deb", "--fast", "--deb-version", version, "--output", package,
        env=environment(PROFILE="dev", PATH=f"{TOOLS}:{os.environ['PATH']}"),
    )
    return package


def kill(process: int) -> None:
    """Ends a process that is not a child of this one, unless it has ended."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


@unittest.skipUnless(os.geteuid() == 0, "only root can install a package")
class Deb(Test):
    def setUp(self) -> None:
        super().setUp()
        self.root = self.folder / "root"
        (self.root / "var/lib/dpkg/updates").mkdir(parents=True)
        (self.root / "var/lib/dpkg/info").mkdir()
        (self.root / "var/lib/dpkg/status").touch()
        # The maintainer scripts run outside of the root, and are told of it in DPKG_ROOT.
        self.dpkg = ["dpkg", f"--root={self.root}", "--force-script-chrootless", "--force-depends"]
        self.secret = self.root / "etc/herenow/jwt.secret"

    def files(self) -> set[str]:
        """All files in the root, but those of dpkg itself and what records that a unit was disabled."""
        found = (path.relative_to(self.root) for path in self.root.rglob("*") if not path.is_dir())
        return {str(path) for path in found if not str(path).startswith(("var/lib/dpkg", "var/log"))}

    def ask(self, *question: str) -> str:
        return run("dpkg-query", f"--admindir={self.root}/var/lib/dpkg", *question).strip()

    def serve(self) -> None:
        """Starts the server as the unit says, as far as that goes without systemd, has it replaced by a
        new process, and stops that."""
        unit = (self.root / "usr/lib/systemd/system/herenow.service").read_text()
        credentials = self.folder / "credentials"
        credentials.mkdir(exist_ok=True)
        for name, source in re.findall(r"^LoadCredential=([^:]+):/(.+)$", unit, re.MULTILINE):
            shutil.copy(self.root / source, credentials / name)
        settings = dict(re.findall(r"^Environment=([^=]+)=(.*)$", unit, re.MULTILINE))
        overrides = (self.root / "etc/default/herenow").read_text()
        settings |= dict(re.findall(r"^(\w+)=(.*)$", overrides, re.MULTILINE))
        runtime = self.folder / "run"
        runtime.mkdir(exist_ok=True)
        places = {"%d": credentials, "/run/herenow": runtime}
        for variable, place in places.items():
            settings = {name: value.replace(variable, str(place)) for name, value in settings.items()}
        start = re.search(r"^ExecStart=/(.+)$", unit, re.MULTILINE)[1].split()
        folder = re.search(r"^WorkingDirectory=/(.+)$", unit, re.MULTILINE)[1]
        binary = self.root / start[0]
        with (self.folder / "herenow.log").open("w") as log:
            process = self.start(binary, *start[1:], cwd=self.root / folder, env=settings, stderr=log)
        url = f"http://{settings['HERENOW_LISTEN']}"
        until("the server is ready", lambda: is_healthy(url, binary))
        pid_file = runtime / "herenow.pid"
        self.assertEqual(int(pid_file.read_text()), process.pid)
        run(binary, "upgrade", env=environment(HERENOW_PID_FILE=settings["HERENOW_PID_FILE"]))
        self.assertEqual(process.wait(), 0)
        successor = int(pid_file.read_text())
        self.addCleanup(kill, successor)
        self.assertTrue(is_healthy(url, binary))
        os.kill(successor, signal.SIGTERM)
        until("the server has stopped", lambda: not pid_file.exists())

    def test_it_is_installed_started_upgraded_removed_and_purged(self) -> None:
        before = self.files()
        first, second = build("1.0.0-1", self.folder), build("1.0.1-1", self.folder)

        run(*self.dpkg, "--install", first)
        self.assertEqual(self.ask("--show", "--showformat=${Version} ${Status}", "herenow"), "1.0.0-1 install ok installed")
        wanted = "etc/systemd/system/multi-user.target.wants/herenow.service"
        self.assertIn(wanted, self.files())
        secret = self.secret.read_text()
        self.assertEqual((self.secret.stat().st_mode & 0o777, len(secret)), (0o600, 45))
        for path in ["man/man1/herenow-serve.1.gz", "bash-completion/completions/herenow"]:
            self.assertIn(f"usr/share/{path}", self.files())

        defaults = self.root / "etc/default/herenow"
        defaults.write_text(defaults.read_text() + f"HERENOW_LISTEN={ADDRESS}:{PORT}\n")
        self.serve()

        run(*self.dpkg, "--install", second, stdin=subprocess.DEVNULL)
        self.assertEqual(self.ask("--show", "--showformat=${Version} ${Status}", "herenow"), "1.0.1-1 install ok installed")
        self.assertEqual(self.secret.read_text(), secret)
        self.assertIn(f"HERENOW_LISTEN={ADDRESS}:{PORT}", defaults.read_text())
        self.serve()

        run(*self.dpkg, "--remove", "herenow")
        # As Debian's policy has it: what the administrator may have changed stays until the purge, and
        # a link to /dev/null keeps systemd from starting what is gone.
        mask = "etc/systemd/system/herenow.service"
        self.assertEqual(os.readlink(self.root / mask), "/dev/null")
        left = {path for path in self.files() if not path.startswith("var/lib/systemd")} - before
        self.assertEqual(left - {wanted, mask}, {"etc/default/herenow", "etc/herenow/jwt.secret"})

        own = self.root / "etc/herenow/edgebase.config.ts"
        own.write_text("// The administrator's.\n")
        run(*self.dpkg, "--purge", "herenow")
        self.assertEqual(self.files() - before, {"etc/herenow/edgebase.config.ts"})

    def test_the_scripts_are_what_debian_expects(self) -> None:
        for script in ["postinst", "postrm"]:
            run("sh", "-n", DEPLOY / "debian" / script)
