"""The command that tests the paper's claim; importing it loads nothing that takes time.

    d2lstyle experiment           # two seeds, painted by the fast method: some minutes
    d2lstyle experiment --full    # the whole table of chapter 06: hours; interrupted, it goes on where it was

`python -m d2lstyle.experiment` is the same command.
"""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer
from typer import Option

FULL_RECORD = "06_style_as_augmentation.json"

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    full: Annotated[bool, Option("--full", help="All of chapter 06: ten seeds, all arms, the optimisation.")] = False,
    data: Annotated[str, Option(help="vending, cifar10, or a class folder.")] = "vending",
    root: Annotated[Path, Option(help="The folder of the data sets.")] = Path("data"),
    seeds: Annotated[int | None, Option(help="Runs of each arm.")] = None,
    per_class: Annotated[list[int] | None, Option(help="Training photos a class; may be given several times.")] = None,
    models: Annotated[
        list[str] | None, Option("--model", help="scratch, fine-tuned; may be given several times.")
    ] = None,
    arms: Annotated[list[str] | None, Option("--arm", help="A to H; may be given several times.")] = None,
    size: Annotated[int | None, Option(help="Pixels of the images trained on.")] = None,
    paint_size: Annotated[int | None, Option(help="Pixels at which copies are painted.")] = None,
    p: Annotated[float | None, Option(help="Probability of a copy in place of its photo.")] = None,
    method: Annotated[str | None, Option(help="optimise or fast.")] = None,
    workers: Annotated[int | None, Option(help="Processes; one a core.")] = None,
    record: Annotated[Path | None, Option(help="The file to write; --full alone writes data/results/.")] = None,
):
    """Test whether stylised copies, with and without classical augmentation, make a better classifier."""
    from dataclasses import asdict, replace

    from ..progress import count_bars
    from ..results import write_record
    from .contrasts import failed_checks, table
    from .plan import QUICK, Plan
    from .runs import run_experiment

    options = {"data": data, "seeds": seeds, "per_class": per_class, "models": models, "arms": arms}
    options |= {"size": size, "paint_size": paint_size, "p": p, "method": method}
    changes = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items() if v not in (None, [])}
    plan = replace(Plan() if full else QUICK, **changes)
    if plan.seeds < 2:
        raise ValueError(f"expected at least two seeds, for intervals, got {plan.seeds}")
    result = run_experiment(plan, root, workers=workers, sanity=full, callback=count_bars())
    print(table(result))
    for sentence in failed_checks(result):
        print(f"CHECK FAILED: {sentence}")
    if record is None and full and changes == {"data": "vending"}:
        record = root / "results" / FULL_RECORD
    if record is not None:
        arguments = sys.argv[2:] if sys.argv[1:2] == ["experiment"] else sys.argv[1:]
        command = shlex.join(["python", "-m", "d2lstyle.experiment", *arguments])
        write_record(record, command=command, plan=asdict(plan), **result)
        print(f"\nwritten to {record}")


def run():
    """`python -m d2lstyle.experiment`: what is refused is one sentence, and exit status 2."""
    try:
        app()
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
