"""A binary without its debug information, and whether that is found beside it. The debug build is stripped, which is
there."""

import re
import shutil
import unittest

from support import BINARY, DEPLOY, Test, run

# What is looked up: a function of a file.
FUNCTION, FILE = "herenow_server::clock::unix_ms", "crates/server/src/clock.rs"


@unittest.skipUnless(shutil.which("objcopy"), "there are no binutils")
class Strip(Test):
    def test_a_stripped_binary_runs_and_its_debug_information_is_found_beside_it(self) -> None:
        copy = self.folder / "herenow"
        run(DEPLOY / "strip", BINARY, copy)
        self.assertIn("herenow", run(copy, "--version"))
        self.assertLess(copy.stat().st_size, BINARY.stat().st_size / 2)
        sections = run("readelf", "--wide", "--sections", copy)
        self.assertNotRegex(sections, r"\.debug_info|\.symtab")

        address = re.search(rf"^(\w+) \w {FUNCTION}(?:::h\w+)?$", run("nm", "--demangle", BINARY), re.MULTILINE)
        self.assertIn(f"{FILE}:", run("addr2line", "--exe", copy, address[1]))
        (self.folder / "herenow.debug").unlink()
        self.assertNotIn(FILE, run("addr2line", "--exe", copy, address[1]))
