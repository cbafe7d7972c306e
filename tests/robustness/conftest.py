"""The table of counts at the end of these tests."""

from support.robustness import COUNTS, table


def pytest_terminal_summary(terminalreporter, config):
    if COUNTS:
        terminalreporter.section("robustness")
        terminalreporter.write_line(table())
        if config.getoption("table"):
            config.getoption("table").write_text(table() + "\n", encoding="utf-8")
