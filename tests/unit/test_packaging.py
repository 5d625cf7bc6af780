import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "simquery"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def files(folder: Path) -> Iterator[Path]:
    """Every file of the package, through the links to the top-level folders."""
    for path in folder.iterdir():
        if path.is_dir():
            if path.name != "__pycache__":
                yield from files(path)
        else:
            yield path


def imported(path: Path) -> Iterator[str]:
    """Top-level names of the modules that a file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def declared() -> set[str]:
    project = PROJECT["project"]
    requirements = [
        *project["dependencies"],
        *(name for extra in project["optional-dependencies"].values() for name in extra),
    ]
    return {re.split(r"[^\w.-]", requirement)[0].lower().replace("_", "-") for requirement in requirements}


def test_every_distribution_that_the_package_imports_is_declared() -> None:
    names = {name for path in files(SOURCE) if path.suffix == ".py" for name in imported(path)}
    names -= {*sys.stdlib_module_names, "simquery", "__future__"}
    providers = packages_distributions()
    undeclared = {
        name for name in names if not {each.lower().replace("_", "-") for each in providers[name]} & declared()
    }
    assert len(names) > 10
    assert not undeclared


def test_the_image_pins_versions_that_the_package_declares() -> None:
    lines = (ROOT / "docker" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}
    project = PROJECT["project"]
    for line in [*project["dependencies"], *project["optional-dependencies"]["cpu"]]:
        requirement = Requirement(line)
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), requirement.name
    assert {"jinja2", "keras", "openvino"} <= pins.keys()


def test_every_file_that_is_not_python_is_package_data() -> None:
    patterns = PROJECT["tool"]["setuptools"]["package-data"]
    for path in files(SOURCE):
        if path.suffix == ".py":
            continue
        package = ".".join(path.parent.relative_to(SOURCE.parent).parts)
        assert any(path.match(pattern) for pattern in patterns.get(package, ())), f"{path} would not be in the wheel"


def test_links_to_the_top_level_folders_are_relative_and_stay_in_the_checkout() -> None:
    links = [path for path in SOURCE.iterdir() if path.is_symlink()]
    assert links
    for link in links:
        assert link.readlink() == Path("../..") / link.name
        assert (link / "__init__.py").is_file()


def test_the_networks_training_is_no_part_of_the_package() -> None:
    assert not (SOURCE / "training").exists()
    assert not any("training" in path.name for path in files(SOURCE))
