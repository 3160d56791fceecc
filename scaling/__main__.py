"""`python -m scaling` is the command `scaling`."""

from scaling.cli import main

main(prog_name="scaling")
