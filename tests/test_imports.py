"""The architecture as a test: which package may import which, without circles, imports inside functions included."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "audiocm"
MAY_IMPORT = {  # package (or lone file): what its files may import, besides each other
    "version": set(),
    "checks": set(),
    "files": {"checks", "schema"},
    "cuda_graphs": set(),
    "devices": set(),
    "errors": set(),
    "failed_sounds": {"checks"},
    "model_cards": {"checks", "files"},
    "native_libraries": set(),
    "audio": {"files"},
    "text": set(),
    "diffusion": {"checks"},
    "distillation": {"checks", "diffusion"},
    "models": {"devices", "diffusion", "errors", "files", "schema"},
    "training": {"checks", "cuda_graphs", "files", "schema"},
    "codec": {"audio", "models", "schema"},
    "speech": {"codec", "diffusion", "files", "models", "schema", "text"},
    "data": {"audio", "diffusion", "files", "schema", "speech", "text"},
    "pipelines": {
        "audio",
        "checks",
        "codec",
        "cuda_graphs",
        "devices",
        "diffusion",
        "failed_sounds",
        "files",
        "models",
        "schema",
        "speech",
        "text",
    },
    "teachers": {
        "audio",
        "checks",
        "devices",
        "diffusion",
        "errors",
        "failed_sounds",
        "files",
        "model_cards",
        "models",
        "pipelines",
        "schema",
        "version",
    },
    "serving": {"audio", "failed_sounds", "pipelines", "speech", "version"},
    "metrics": {"audio", "checks"},
    "embedders": {"audio", "devices", "errors", "files", "metrics", "models", "schema"},
    "evaluation": {"audio", "checks", "devices", "embedders", "files", "metrics", "model_cards", "schema", "version"},
    "cli": {
        "audio",
        "checks",
        "data",
        "devices",
        "diffusion",
        "distillation",
        "embedders",
        "errors",
        "evaluation",
        "export",
        "files",
        "model_cards",
        "pipelines",
        "runtime",
        "serving",
        "speech",
        "teachers",
        "text",
        "training",
        "version",
    },
    "schema": set(),
    "runtime": {"checks", "failed_sounds", "files", "models", "speech", "text"},
    "export": {"audio", "diffusion", "files", "models", "pipelines", "runtime", "speech", "version"},
}


def module_of(file: Path) -> str:
    """Returns the dotted name below audiocm; that of an `__init__` is its package's."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(file): file for file in sorted(ROOT.rglob("*.py")) if file.name != "__main__.py"}


def imports_of(module: str) -> set[str]:
    """Returns the modules of audiocm that a file imports anywhere; for an `__init__`, those of its stub too."""
    file = MODULES[module]
    is_package = file.name == "__init__.py"
    sources = [path for path in (file, file.with_suffix(".pyi")) if path.is_file()]
    found = set()
    for node in (node for path in sources for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))):
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


def test_packages_import_only_lower_ones():
    packages = {module.split(".")[0] for module in MODULES if module}
    assert packages == set(MAY_IMPORT)
    wrong = {
        f"{module} imports {name or 'audiocm itself'}"
        for module, names in GRAPH.items()
        for name in names
        if module and name.split(".")[0] not in {module.split(".")[0], *MAY_IMPORT[module.split(".")[0]]}
    }
    assert wrong == set()


def test_no_permission_is_unused():
    used = {name: set() for name in MAY_IMPORT}
    for module, names in GRAPH.items():
        if module:
            used[module.split(".")[0]] |= {name.split(".")[0] for name in names}
    assert {name: below - used[name] for name, below in MAY_IMPORT.items() if below - used[name]} == {}


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


def names_of(file: Path) -> set[str]:
    """Returns the names that the top level of a file defines, those in `try` and `if` included."""
    found: set[str] = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif not isinstance(node, ast.Import | ast.ImportFrom):
            found |= {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return found


def test_names_are_imported_from_the_file_that_defines_them():
    defined = {file: names_of(file) for file in MODULES.values()}
    borrowed = set()
    for file in MODULES.values():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level and node.module:
                source = file.parents[node.level - 1].joinpath(*node.module.split(".")).with_suffix(".py")
                names = {alias.name for alias in node.names}
                borrowed |= {f"{source}: {name}" for name in names - defined.get(source, names)}
    assert borrowed == set()


def test_modules_are_named_by_imports_and_not_by_strings():
    """A module with a computed name would be invisible to the tests above."""
    by_string = {
        module
        for module, file in MODULES.items()
        if file.name != "__init__.py"
        and any(call in file.read_text(encoding="utf-8") for call in ("import_module(", "__import__("))
    }
    assert by_string <= {"metrics.signal"}  # optional packages of others


STUBS = sorted(ROOT.rglob("__init__.pyi"))


def test_every_package_has_a_stub():
    assert {file.with_suffix(".pyi") for file in ROOT.rglob("__init__.py")} == set(STUBS)


@pytest.mark.parametrize("stub", STUBS, ids=lambda stub: stub.parent.name)
def test_public_names_can_be_imported(stub):
    package = importlib.import_module(".".join(stub.parent.relative_to(ROOT.parent).parts))
    nodes = [node for node in ast.parse(stub.read_text(encoding="utf-8")).body if isinstance(node, ast.ImportFrom)]
    names = {alias.asname or alias.name for node in nodes for alias in node.names}
    assert names and all(getattr(package, name) is not None for name in names)
    assert names - {"__version__"} <= set(dir(package))
