"""`python -m d2lstyle.experiment`."""

from .command import run

run()
