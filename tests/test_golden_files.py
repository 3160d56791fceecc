"""A golden value that no test reads proves nothing."""

from pathlib import Path

TESTS = Path(__file__).parent
GOLDEN = TESTS / "golden"


def test_every_golden_file_is_named_by_a_test():
    code = "\n".join(file.read_text(encoding="utf-8") for file in TESTS.rglob("*.py"))
    files = [file for file in GOLDEN.rglob("*") if file.is_file() and file.name != "README.md"]
    unused = sorted(str(file.relative_to(TESTS)) for file in files if file.name not in code)
    assert not unused, f"no test names {', '.join(unused)}; use the file in a test, or remove it"
