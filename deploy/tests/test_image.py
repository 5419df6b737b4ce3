"""What linters say of the image, the compose file and the release, and the server in a root that holds no
more than the image."""

import os
import re
import shutil
import subprocess
import unittest

from support import ADDRESS, BINARY, DEPLOY, ROOT, SECRET, TOOLS, Test, is_healthy, run, until

# What the base image has beside the C library: libgcc, and more that is not needed.
IN_THE_IMAGE = {"ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1", "libc.so.6", "libgcc_s.so.1", "libm.so.6"}
PORT = 4620


class Image(Test):
    def test_a_linter_accepts_the_dockerfile(self) -> None:
        run(TOOLS / "hadolint", DEPLOY / "Dockerfile")

    def test_compose_and_the_release_workflow_are_what_their_schemas_describe(self) -> None:
        workflow = ROOT / ".github/workflows/release.yml"
        for schema, file in [("compose-spec", DEPLOY / "compose.yaml"), ("github-workflows", workflow)]:
            run(TOOLS / "check-jsonschema", "--builtin-schema", f"vendor.{schema}", file)

    def test_a_linter_finds_no_hole_in_the_release_workflow(self) -> None:
        run(TOOLS / "zizmor", "--offline", "--no-progress", ".github/workflows/release.yml", cwd=ROOT)

    def test_the_dockerfile_copies_all_that_cargo_reads(self) -> None:
        text = (DEPLOY / "Dockerfile").read_text()
        context = self.folder / "context"
        for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE):
            *sources, target = line.split()
            for source in sources:
                to = context / (source if target == "./" else target)
                if (ROOT / source).is_dir():
                    shutil.copytree(ROOT / source, to, ignore=shutil.ignore_patterns("node_modules"))
                else:
                    to.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(ROOT / source, to)
        run("cargo", "metadata", "--locked", "--offline", "--no-deps", "--format-version=1", cwd=context)
        build_script = (ROOT / "crates/server/build.rs").read_text()
        for folder in re.findall(r'root\.join\("([^"]+)"\)', build_script):
            self.assertTrue((context / folder).is_dir(), folder)

    @unittest.skipUnless(os.geteuid() == 0, "only root can change the root")
    def test_the_server_runs_as_nobody_in_a_root_without_a_shell(self) -> None:
        root = self.folder / "root"
        libraries = re.findall(r"(/\S+/(\S+\.so[.\d]*))", run("ldd", BINARY))
        self.assertLessEqual({name for _, name in libraries}, IN_THE_IMAGE)
        for path in [BINARY, *(path for path, _ in libraries)]:
            to = root / ("usr/local/bin/herenow" if path == BINARY else str(path).lstrip("/"))
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, to)
        (root / "etc/herenow").mkdir(parents=True)
        for folder in [self.folder, *(path for path in root.rglob("*") if path.is_dir()), root]:
            folder.chmod(0o755)
        listen = f"{ADDRESS}:{PORT}"
        inside = ["chroot", "--userspec=65532:65532", str(root), "/usr/local/bin/herenow"]
        settings = {"HERENOW_LISTEN": listen, "HERENOW_LOOPS": "1", "JWT_USER_SECRET": SECRET}
        self.start(*inside, "serve", env=settings | {"PATH": "/usr/sbin:/usr/bin"})
        until("the server is ready", lambda: is_healthy(f"http://{listen}"))
        # As the image's health check asks.
        environment = {"HERENOW_LISTEN": listen, "PATH": "/usr/sbin:/usr/bin"}
        asked = subprocess.run([*inside, "health"], env=environment, capture_output=True, text=True)
        self.assertEqual((asked.returncode, asked.stdout), (0, "ready\n"), asked.stderr)
