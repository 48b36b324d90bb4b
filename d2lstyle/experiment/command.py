"""The command that tests the paper's claim; importing it loads nothing that takes time.

    d2lstyle experiment                           # two seeds, one dose: some minutes
    d2lstyle experiment --full 'vending scratch'  # a unit of chapter 06: an hour or more; it goes on where it was

`python -m d2lstyle.experiment` is the same command.
"""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer
from typer import Option

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    full: Annotated[str | None, Option(help="A plan of chapter 06, such as 'vending scratch': ten seeds.")] = None,
    data: Annotated[str | None, Option(help="vending, clothing, cifar10, or a class folder.")] = None,
    root: Annotated[Path, Option(help="The folder of the data sets.")] = Path("data"),
    model: Annotated[str | None, Option(help="scratch or fine-tuned.")] = None,
    seeds: Annotated[int | None, Option(help="Runs of each arm.")] = None,
    per_class: Annotated[
        list[int] | None, Option(help="Training photos per class; may be given several times.")
    ] = None,
    arms: Annotated[list[str] | None, Option("--arm", help="A to R, Dv; may be given several times.")] = None,
    size: Annotated[int | None, Option(help="Pixels of the images trained on.")] = None,
    base: Annotated[
        str | None, Option(help="Crop, colour, share that other arms than B build on: '0.3 1.5 0.5'.")
    ] = None,
    until: Annotated[str, Option(help="trials: stop before the test side is opened.")] = "test",
    workers: Annotated[int | None, Option(help="Processes; one a core.")] = None,
    record: Annotated[Path | None, Option(help="The file to write; --full alone writes data/results/.")] = None,
):
    """Test whether stylised copies, with and without classical augmentation, make a better classifier."""
    from dataclasses import replace

    from ..engine import checks
    from ..progress import count_bars
    from ..results import write_record
    from .contrasts import failed_checks, table
    from .plan import PLANS, QUICK
    from .runs import record_file, run_experiment

    options = {"data": data, "model": model, "seeds": seeds, "per_class": per_class, "arms": arms, "size": size}
    options["base"] = base and [float(number) for number in base.split()]
    changes = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items() if v not in (None, [])}
    plan = replace(PLANS[checks.choice("plan", full, PLANS)] if full else QUICK, **changes)
    if record is None and full and not changes and until == "test":
        record = record_file(full, root)
    options = {"workers": workers, "sanity": bool(full), "known": record, "until": until}
    result = run_experiment(plan, root, **options, callback=count_bars())
    if record is not None:
        arguments = sys.argv[2:] if sys.argv[1:2] == ["experiment"] else sys.argv[1:]
        command = shlex.join(["python", "-m", "d2lstyle.experiment", *arguments])
        write_record(record, command=command, **result)
        print(f"written to {record}")
    for arm, doses in result["chosen"].items():
        print(f"{arm:3}", doses)
    if result["rows"]:
        print(table([result]))
        for sentence in failed_checks(result):
            print(f"CHECK FAILED: {sentence}")


def run():
    """`python -m d2lstyle.experiment`: what is refused is one sentence, and exit status 2."""
    try:
        app()
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
