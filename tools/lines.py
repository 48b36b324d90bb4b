"""How long the house is, against what DESIGN allows: `make lines`. Docstrings and blank lines count."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "d2lstyle"
CORE = ("images", "augment", "light", "losses", "backbones", "finetune", "training", "mixing", "transfer")
ROOMS = ("maps", "engine", "samples", "datasets", "fast", "folders", "experiment", "labs")
DRAWN = ("samples/paintings", "samples/vending.py", "samples/voice.py")  # pictures and sounds, as code
MOST = {"core": 1750, "package without what is drawn": 6200, "package": 7400, "tests": 9800}


def lines(*places):
    """The lines of Python files, or of all those in folders."""
    files = [file for place in places for file in ([place] if place.is_file() else sorted(place.rglob("*.py*")))]
    return sum(len(file.read_text("utf-8").splitlines()) for file in files if file.suffix in (".py", ".pyi"))


def sums():
    """{what DESIGN limits: its lines}"""
    package = lines(PACKAGE)
    return {
        "core": lines(*(PACKAGE / f"{name}.py" for name in CORE)),
        "package without what is drawn": package - lines(*(PACKAGE / place for place in DRAWN)),
        "package": package,
        "tests": lines(ROOT / "tests"),
    }


def main():
    """Print each core file and room, and each sum beside its limit: a target, not a test."""
    for name in CORE:
        print(f"{lines(PACKAGE / f'{name}.py'):6}  d2lstyle/{name}.py")
    for room in ROOMS:
        print(f"{lines(PACKAGE / room):6}  d2lstyle/{room}/")
    others = [file for file in PACKAGE.glob("*.py*") if file.stem not in CORE]
    print(f"{lines(*others):6}  d2lstyle/, the rest: {', '.join(sorted(file.name for file in others))}\n")
    for name, count in sums().items():
        print(f"{count:6}  of at most {MOST[name]}: {name}{'' if count <= MOST[name] else '  TOO LONG'}")


if __name__ == "__main__":
    main()
