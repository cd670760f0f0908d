"""Which files of this project a stage's module needs: the code its dvc.yaml entry must list as deps."""

import ast
from functools import cache
from pathlib import Path

PACKAGES = ("lineage", "pipelines", "cyclip_model", "flows")
ROOT = Path(__file__).resolve().parent.parent


def code_closure(module: str) -> list[str]:
    """Returns the files, relative to the project's root and sorted, that importing `module` reads, itself included.

    Imports inside functions count too. Files beside the code that a module names in a constant string of the form
    `templates/NAME` count as its code.

    Raises:
        ValueError: if there is no such module in the project.
    """
    if _file_of(module) is None:
        raise ValueError(f"{module}: no such module in {', '.join(PACKAGES)}")
    seen: set[str] = set()
    pending = [module]
    while pending:
        current = pending.pop()
        file = _file_of(current)
        if file is None or file in seen:
            continue
        seen.add(file)
        pending += [*_imports(file), *_parents(current)]
    templates = [name for file in seen for name in _templates(file)]
    return sorted({*seen, *templates})


def _parents(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:depth]) for depth in range(1, len(parts))]


@cache
def _file_of(module: str) -> str | None:
    if module.split(".")[0] not in PACKAGES:
        return None
    stem = Path(*module.split("."))
    for candidate in (stem.with_suffix(".py"), stem / "__init__.py"):
        if (ROOT / candidate).is_file():
            return candidate.as_posix()
    return None


@cache
def _imports(file: str) -> tuple[str, ...]:
    found: list[str] = []
    for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(found)


@cache
def _templates(file: str) -> tuple[str, ...]:
    folder = (ROOT / file).parent / "templates"
    if not folder.is_dir():
        return ()
    text = (ROOT / file).read_text(encoding="utf-8")
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    return tuple((folder / name).relative_to(ROOT).as_posix() for name in names if f'"{name}"' in text)
