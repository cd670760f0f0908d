"""Does a stage import nothing that dvc.yaml does not list as its dep? An undeclared file changes results unseen.

Beyond `closure.code_closure`, which stages use for their own digest, this finds relative imports, modules at the root
of the project (they shadow installed ones) and constant `importlib.import_module("x")`, and works on any revision. Not
found are names that are put together at run time, and `runpy`.
"""

import ast
import functools
import hashlib
import posixpath
import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from lineage import dag, digests
from lineage.checks.findings import Finding, judged, unchecked
from lineage.params import parse_yaml

_BY_NAME = frozenset({"import_module", "__import__"})
_TEMPLATES = "templates"


class Code:
    """The project's own code at one revision."""

    def __init__(self, at: dag.Revision) -> None:
        self._at = at
        self._tracked = frozenset(at.tracked())
        self._read = functools.cache(at.read)
        self._parsed = functools.cache(self._parse)
        self.closure = functools.cache(self._closure)
        content = {name: parse_yaml(at.read(name) or b"") or {} for name in ("dvc.yaml", "params.yaml")}
        self.declared: dict[str, dict[str, Any]] = dict(
            dag.expand(content["dvc.yaml"].get("stages") or {}, content["params.yaml"])
        )

    def check(self, instance: dag.Instance) -> Finding:
        """Returns whether the command of a stage instance imports only what dvc.yaml lists.

        Of one that starts no Python module or script of the project that cannot be told.
        """
        entry = self.entry(instance)
        if entry is None:
            return unchecked("imports", instance.name, "its command starts no Python module of the project", "none")
        listed = [dep if isinstance(dep, str) else next(iter(dep)) for dep in self._of(instance).get("deps") or []]
        declared = {posixpath.normpath(dep) for dep in listed}
        try:
            found = self.closure(entry)
        except (SyntaxError, ValueError, RecursionError) as error:
            return judged("imports", instance.name, [f"its code cannot be read: {error}"], "mend the file")
        loose = [file for file in found if not declared & {file, *_above(file)}]
        problems = [f"uses {file}, which is not among its deps" for file in loose]
        return judged("imports", instance.name, problems, "list it in dvc.yaml, then `dvc repro`")

    def digest(self, instance: dag.Instance) -> str | None:
        """Returns the code digest that a run record would have here; None if dvc.lock has other code than is here."""
        entry = self.entry(instance)
        if entry is None or self.check(instance).state != "good":
            return None
        contents = {file: self._read(file) or b"" for file in self.closure(entry)}
        if any(instance.deps.get(file) != _md5(content) for file, content in contents.items()):
            return None
        return digests.content_digest({file: digests.sha256_bytes(content) for file, content in contents.items()})

    def entry(self, instance: dag.Instance) -> str | None:
        """Returns the file of the project that the command of a stage instance starts."""
        try:
            words = shlex.split(str(self._of(instance).get("cmd")))
        except ValueError:
            return None
        if "-m" in words[:-1]:
            return self._file_of(words[words.index("-m") + 1])
        scripts = [posixpath.normpath(word) for word in words if word.endswith(".py")]
        return next((script for script in scripts if self._exists(script)), None)

    def _of(self, instance: dag.Instance) -> Mapping[str, Any]:
        return self.declared.get(instance.name, {})

    def _closure(self, entry: str) -> list[str]:
        """Returns the files that starting `entry` reads, sorted; imports inside functions count, and templates."""
        seen: set[str] = set()
        pending = [entry]
        while pending:
            file = pending.pop()
            if file not in seen:
                seen.add(file)
                pending += [found for module in self._parsed(file) for found in self._files_of(module)]
                pending += [package for package in _packages(file) if self._exists(package)]
        return sorted({*seen, *(name for file in seen for name in self._templates(file))})

    def _parse(self, file: str) -> tuple[str, ...]:
        """Returns the names of modules that a file may import."""
        return tuple(_imported(ast.parse(self._read(file) or b""), file))

    def _files_of(self, module: str) -> Iterator[str]:
        """Yields the files of a module and of the packages it lies in."""
        parts = module.split(".")
        for depth in range(1, len(parts) + 1):
            file = self._file_of(".".join(parts[:depth]))
            if file is not None:
                yield file

    def _file_of(self, module: str) -> str | None:
        stem = module.replace(".", "/")
        found = (name for name in (f"{stem}.py", f"{stem}/__init__.py", f"{stem}/__main__.py") if self._exists(name))
        return next(found, None)

    def _exists(self, file: str) -> bool:
        if self._at.commit is not None:
            return file in self._tracked
        return (self._at.root / file).is_file()

    def _templates(self, file: str) -> list[str]:
        folder = posixpath.join(posixpath.dirname(file), _TEMPLATES)
        text = (self._read(file) or b"").decode("utf-8", "replace")
        beside = [name for name in self._tracked if posixpath.dirname(name) == folder]
        return [name for name in beside if f'"{posixpath.basename(name)}"' in text]


def _imported(tree: ast.AST, file: str) -> Iterator[str]:
    package = posixpath.dirname(file).split("/")
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (base, *(f"{base}.{alias.name}" for alias in node.names))
        elif isinstance(node, ast.Call) and node.args and _called(node.func) in _BY_NAME:
            name = node.args[0]
            if isinstance(name, ast.Constant) and isinstance(name.value, str) and re.fullmatch(r"[\w.]+", name.value):
                yield name.value


def _called(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _packages(file: str) -> list[str]:
    return [f"{folder}/__init__.py" for folder in _above(file)]


def _above(file: str) -> list[str]:
    parts = file.split("/")
    return ["/".join(parts[:depth]) for depth in range(1, len(parts))]


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
