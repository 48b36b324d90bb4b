"""`python -m d2lstyle.experiment`."""

from .command import app

app()
