"""Experiments that others can repeat: means with intervals, records of long runs, and the test of the paper's claim.

    python -m d2lstyle.experiment           # two seeds, painted by the fast method: some minutes
    python -m d2lstyle.experiment --full    # the whole table of chapter 06: hours; interrupted, it goes on where it was

The arms are in `arms`, the plan and its pictures in `pool`, what comes out in `contrasts`.
"""

import shlex
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from ..progress import count_bars
from ..results import write_record
from .contrasts import failed_checks, table
from .plan import Plan
from .runs import run_experiment

QUICK = Plan(
    seeds=2,
    per_class=(10,),
    models=("fine-tuned",),
    arms=("A", "B", "C", "D"),
    copies=1,
    method="fast",
    strengths=(0.1, 0.3, 1.0),
    validation=5,
)
FULL_RECORD = "06_style_as_augmentation.json"


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    full: Annotated[
        bool, typer.Option("--full", help="The whole plan of chapter 06: ten seeds, all arms, the optimisation.")
    ] = False,
    data: Annotated[str, typer.Option(help="vending, cifar10, or a class folder.")] = "vending",
    root: Annotated[Path, typer.Option(help="The folder of the data sets.")] = Path("data"),
    seeds: Annotated[int | None, typer.Option(help="Runs of each arm.")] = None,
    per_class: Annotated[
        list[int] | None, typer.Option(help="Training photos a class; may be given several times.")
    ] = None,
    model: Annotated[list[str] | None, typer.Option(help="scratch or fine-tuned; may be given several times.")] = None,
    arm: Annotated[list[str] | None, typer.Option(help="A to H; may be given several times.")] = None,
    size: Annotated[int | None, typer.Option(help="Pixels of the images trained on.")] = None,
    paint_size: Annotated[int | None, typer.Option(help="Pixels at which copies are painted.")] = None,
    p: Annotated[float | None, typer.Option(help="Probability of a copy in place of its photo.")] = None,
    method: Annotated[str | None, typer.Option(help="optimise or fast.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes; one a core.")] = None,
    record: Annotated[Path | None, typer.Option(help="The file to write; --full alone writes data/results/.")] = None,
):
    """Test whether stylised copies, with and without classical augmentation, make a better classifier."""
    given = {
        "seeds": seeds,
        "per_class": per_class and tuple(per_class),
        "models": model and tuple(model),
        "p": p,
        "arms": arm and tuple(arm),
        "size": size,
        "paint_size": paint_size,
        "method": method,
        "data": data,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    plan = replace(Plan() if full else QUICK, **changes)
    try:
        if plan.seeds < 2:
            raise ValueError(f"expected at least two seeds, for intervals, got {plan.seeds}")
        found = run_experiment(plan, root, workers=workers, sanity=full, callback=count_bars())
    except (ValueError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from None
    print(table(found))
    for sentence in failed_checks(found):
        print(f"CHECK FAILED: {sentence}")
    if record is None and full and changes == {"data": "vending"}:
        record = root / "results" / FULL_RECORD
    if record is not None:
        rows = found.pop("rows")
        write_record(
            record,
            rows,
            command=shlex.join(["python", "-m", "d2lstyle.experiment", *sys.argv[1:]]),
            plan=asdict(plan),
            **found,
        )
        print(f"\nwritten to {record}")
