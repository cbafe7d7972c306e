"""``python -m eprop_brian``: the command, where its script is not on the path."""

from eprop_brian.base.interrupts import COMMAND
from eprop_brian.cli import main

if __name__ == "__main__":
    main(prog_name=COMMAND)
