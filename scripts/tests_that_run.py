"""Which tests the test runners have, and which test a line of a source file stands above.

The runners are asked, the sources are not believed: a test that is ignored, compiled out by `cfg`,
skipped or in a file that no target includes is not on their lists. Every failure to get a list
ends the script that asked for it.
"""

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Written by `make sdk`, which deletes it before the run.
SDK_REPORT = ROOT / "target/sdk-tests.json"

RUST_COMMENT = re.compile(r"\s*//")
RUST_ATTRIBUTE = re.compile(r"\s*#\[")
RUST_TEST = re.compile(r"\s*#\[(?:tokio::)?test\b")
RUST_IGNORED = re.compile(r"\s*#\[ignore\b")
RUST_FUNCTION = re.compile(r"\s*(?:pub )?(?:async )?fn (\w+)")
SDK_COMMENT = re.compile(r"\s*(?://|/?\*)")
SDK_TEST = re.compile(
    r"\s*(it|test|describe)(?:\.(?:each|for|skipIf|runIf)\(.*?\))?\(\s*([\"'`])((?:\\.|(?!\2).)*)\2",
    re.DOTALL,
)
# What vitest replaces in the title of a test that runs for each of several values.
SDK_PLACEHOLDER = re.compile(r"%[sdifjoO#$%]|\$[\w.]+")


@dataclass(frozen=True)
class Test:
    """A test, or a suite of the SDK's tests, as a source file spells it."""

    path: Path
    name: str
    is_suite: bool = False


def test_below(path: Path, lines: list[str], at: int) -> Test | None:
    """The test that the comment on line `at` stands above, with nothing but comments and attributes between."""
    return _rust_test_below(path, lines, at) if path.suffix == ".rs" else _sdk_test_below(path, lines, at)


def _rust_test_below(path: Path, lines: list[str], at: int) -> Test | None:
    is_test = False
    for line in lines[at + 1 :]:
        function = RUST_FUNCTION.match(line)
        if function:
            return Test(path, function[1]) if is_test else None
        if RUST_IGNORED.match(line):
            return None
        is_test = is_test or bool(RUST_TEST.match(line))
        if not (RUST_COMMENT.match(line) or RUST_ATTRIBUTE.match(line)):
            return None
    return None


def _sdk_test_below(path: Path, lines: list[str], at: int) -> Test | None:
    below = at + 1
    while below < len(lines) and SDK_COMMENT.match(lines[below]):
        below += 1
    found = SDK_TEST.match("\n".join(lines[below:]))
    return Test(path, found[3], is_suite=found[1] == "describe") if found else None


class TextOnly:
    """Believes the sources: for a check that has to be done before anything is built."""

    def has(self, _test: Test) -> bool:
        return True


class Runners:
    """The lists of `cargo test` and of the SDK's last run."""

    def __init__(self) -> None:
        self._rust = _rust_lists()
        self._sdk = _sdk_titles()

    def has(self, test: Test) -> bool:
        return self._has_rust(test) if test.path.suffix == ".rs" else self._has_sdk(test)

    def _has_rust(self, test: Test) -> bool:
        for root, names in self._rust:
            if not test.path.is_relative_to(root.parent):
                continue
            # What a file's modules are called follows from its place below the target's root.
            parts = () if test.path == root else test.path.relative_to(root.parent).with_suffix("").parts
            prefix = "::".join(part for part in parts if part != "mod")
            prefix = prefix + "::" if prefix else ""
            if any(name.startswith(prefix) and name.split("::")[-1] == test.name for name in names):
                return True
        return False

    def _has_sdk(self, test: Test) -> bool:
        literal = [re.escape(part) for part in SDK_PLACEHOLDER.split(test.name.replace("\\", ""))]
        title = re.compile(".*".join(literal), re.DOTALL)
        return any(
            any(title.fullmatch(name) for name in (suites if test.is_suite else [last]))
            for path, suites, last in self._sdk
            if path == test.path
        )


def _output(command: list[str]) -> str:
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"`{' '.join(command)}` failed, so it is not known which tests there are")
    return done.stdout


def _rust_lists() -> list[tuple[Path, set[str]]]:
    """For each test target, its root file and the tests that run in it by default."""
    built = _output(["cargo", "test", "--quiet", "--workspace", "--no-run", "--message-format=json"])
    messages = [json.loads(line) for line in built.splitlines()]
    lists = []
    for message in messages:
        if message["reason"] != "compiler-artifact" or not message["profile"]["test"] or not message["executable"]:
            continue
        program = message["executable"]
        tests = _listed(_output([program, "--list", "--format=terse"]))
        ignored = _listed(_output([program, "--list", "--format=terse", "--ignored"]))
        lists.append((Path(message["target"]["src_path"]), tests - ignored))
    if not any(names for _, names in lists):
        sys.exit("`cargo test` lists no test")
    return lists


def _listed(text: str) -> set[str]:
    return {line.removesuffix(": test") for line in text.splitlines() if line.endswith(": test")}


def _sdk_titles() -> list[tuple[Path, list[str], str]]:
    """Of each test of the SDK that passed: its file, its suites and its title."""
    try:
        report = json.loads(SDK_REPORT.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        sys.exit(f"{SDK_REPORT.relative_to(ROOT)}, which `make sdk` writes, cannot be read: {error}")
    titles = [
        (Path(file["name"]), test["ancestorTitles"], test["title"])
        for file in report["testResults"]
        for test in file["assertionResults"]
        if test["status"] == "passed"
    ]
    if not titles:
        sys.exit(f"{SDK_REPORT.relative_to(ROOT)} holds no test that passed")
    return titles


def source() -> TextOnly | Runners:
    """As the command line wants it: by the sources, or with `--ran` by the runners."""
    match sys.argv[1:]:
        case []:
            return TextOnly()
        case ["--ran"]:
            return Runners()
    sys.exit(f"usage: {sys.argv[0]} [--ran]")
