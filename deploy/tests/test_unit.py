"""What systemd says of the unit."""

from support import BINARY, DEPLOY, Test, run

# Of 100, which is a service without any protection; `systemd-analyze security` calls it OK.
MOST_EXPOSED = 15


class Unit(Test):
    def test_the_unit_is_exposed_no_more_than_it_has_to_be(self) -> None:
        unit = DEPLOY / "herenow.service"
        run("systemd-analyze", "security", "--offline=true", f"--threshold={MOST_EXPOSED}", unit)

    def test_the_unit_has_no_directive_that_systemd_does_not_know(self) -> None:
        # The binary is not installed here.
        text = (DEPLOY / "herenow.service").read_text().replace("/usr/bin/herenow", str(BINARY))
        (self.folder / "herenow.service").write_text(text)
        said = run("systemd-analyze", "verify", "--man=no", self.folder / "herenow.service")
        self.assertNotIn("herenow.service", said)
