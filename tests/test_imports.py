"""The architecture as a test: which package may import which, and no circle of files, lazy imports included."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1] / "audiocm"
MAY_IMPORT = {  # package (or lone file): what its files may import, besides each other
    "version": set(),
    "files": set(),
    "devices": set(),
    "audio": {"files"},
    "diffusion": set(),
    "distillation": {"diffusion"},
    "models": {"diffusion", "files"},
    "training": {"files"},
    "codec": {"audio", "models"},
    "speech": {"codec", "diffusion", "models"},
    "data": {"audio", "diffusion", "files", "speech"},
    "pipelines": {"audio", "codec", "diffusion", "files", "models", "speech"},
    "metrics": {"audio"},
    "embedders": {"audio", "devices", "files", "metrics", "models"},
    "evaluation": {"audio", "devices", "embedders", "files", "metrics", "version"},
    "cli": {
        "audio",
        "devices",
        "embedders",
        "evaluation",
        "files",
        "metrics",
        "pipelines",
        "speech",
        "training",
        "version",
        "models",
    },
}


def module_of(file: Path) -> str:
    """The dotted name below audiocm: a package's `__init__` has the package's own name."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(file): file for file in sorted(ROOT.rglob("*.py")) if file.name != "__main__.py"}


def imports_of(module: str) -> set[str]:
    """The modules of audiocm that a file, or the stub that an `__init__` lends its names from, imports anywhere."""
    file = MODULES[module]
    is_package = file.name == "__init__.py"
    if is_package and file.with_suffix(".pyi").is_file():
        file = file.with_suffix(".pyi")
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {
                a.name.removeprefix("audiocm").lstrip(".") for a in node.names if a.name.split(".")[0] == "audiocm"
            }
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                package = [p for p in module.split(".") if p] if is_package else module.split(".")[:-1]
                base = [*package[: len(package) - node.level + 1], *(node.module.split(".") if node.module else [])]
            elif node.module and node.module.split(".")[0] == "audiocm":
                base = node.module.split(".")[1:]
            else:
                continue
            names = {".".join([*base, alias.name]) for alias in node.names}
            found |= {name if name in MODULES else ".".join(base) for name in names}
    return found


GRAPH = {module: imports_of(module) for module in MODULES}


def test_every_import_is_of_a_module_that_exists():
    assert {(module, name) for module, names in GRAPH.items() for name in names if name not in MODULES} == set()


def test_packages_import_only_what_stands_below_them():
    packages = {module.split(".")[0] for module in MODULES if module}
    assert packages == set(MAY_IMPORT)
    wrong = {
        f"{module} imports {name or 'audiocm itself'}"
        for module, names in GRAPH.items()
        for name in names
        if module and name.split(".")[0] not in {module.split(".")[0], *MAY_IMPORT[module.split(".")[0]]}
    }
    assert wrong == set()


def test_the_order_of_packages_has_no_circle():
    left = {name: set(below) for name, below in MAY_IMPORT.items()}
    while left:
        free = {name for name, below in left.items() if not below & set(left)}
        assert free, f"these packages stand on each other: {sorted(left)}"
        left = {name: below for name, below in left.items() if name not in free}


def test_no_circle_of_files():
    left = {module: names - {module} for module, names in GRAPH.items()}
    while left:
        free = {module for module, names in left.items() if not names & set(left)}
        assert free, f"these files import each other: {sorted(left)}"
        left = {module: names for module, names in left.items() if module not in free}


def test_modules_are_named_by_imports_and_not_by_strings():
    """A module found by a computed name would be invisible to the tests above."""
    lent = {MODULES[module] for module in MODULES if MODULES[module].name == "__init__.py"}
    by_string = {
        module_of(file)
        for file in MODULES.values()
        if file not in lent
        and any(word in file.read_text(encoding="utf-8") for word in ("import_module(", "__import__("))
    }
    assert by_string <= {"metrics.signal"}  # optional packages of others
