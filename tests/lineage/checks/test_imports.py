"""Whatever way a stage takes to a file of the project, dvc.yaml has to list it."""

from pathlib import Path

import pytest

from lineage import closure, dag
from lineage.checks.imports import Code
from tests.lineage.conftest import call, commit

ROOT = Path(closure.ROOT)
FILES = {"pkg/__init__.py": "", "pkg/stage.py": "", "pkg/other.py": "", "pkg/deep/__init__.py": "", "pkg/deep/x.py": ""}
NONE = dag.Instance(name="one", deps={}, outs={}, params={}, changes=())


def lay(root: Path, code: str, deps: list[str], cmd: str = "python -m pkg.stage", **more: str) -> None:
    for name, text in {**FILES, "pkg/stage.py": code, **more}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "params.yaml").write_text("{}\n")
    (root / "dvc.yaml").write_text(f"stages:\n  one:\n    cmd: {cmd}\n    deps: {deps}\n    outs: [out]\n")
    call(root, "git", "init", "-q")
    commit(root, "code")


def loose(root: Path) -> set[str]:
    """Returns what is undeclared, the same in the working tree and at HEAD."""
    found = []
    for rev in (None, "HEAD"):
        finding = Code(dag.revision(root, rev)).check(NONE)
        problems = finding.problem.split("; ") if finding.problem else []
        found.append(
            {problem.removeprefix("uses ").removesuffix(", which is not among its deps") for problem in problems}
        )
    assert found[0] == found[1]
    return found[0]


DECLARED = ["pkg/__init__.py", "pkg/stage.py"]


@pytest.mark.parametrize(
    ("code", "undeclared"),
    [
        ("import os, numpy, pkg", set()),
        ("import pkg.other", {"pkg/other.py"}),
        ("from pkg import other", {"pkg/other.py"}),
        ("from . import other", {"pkg/other.py"}),
        ("from .other import x", {"pkg/other.py"}),
        ("from .deep import x", {"pkg/deep/__init__.py", "pkg/deep/x.py"}),
        ("import importlib\nimportlib.import_module('pkg.other')", {"pkg/other.py"}),
        ("from importlib import import_module\ndef f():\n  import_module('pkg.other')", {"pkg/other.py"}),
        ("__import__('pkg.other')", {"pkg/other.py"}),
        ("import numpy\nnumpy.array('pkg.other')", set()),
        ("if False:\n  import pkg.other", {"pkg/other.py"}),
    ],
)
def test_every_way_to_import(tmp_path: Path, code: str, undeclared: set[str]) -> None:
    lay(tmp_path, code, DECLARED)
    assert loose(tmp_path) == undeclared


def test_a_module_at_the_root_shadows_an_installed_one(tmp_path: Path) -> None:
    lay(tmp_path, "import numpy", DECLARED, **{"numpy.py": ""})
    assert loose(tmp_path) == {"numpy.py"}


def test_what_an_imported_file_imports_and_its_templates(tmp_path: Path) -> None:
    more = {"pkg/other.py": 'import side\nNAME = "page.j2"', "side.py": "", "pkg/templates/page.j2": ""}
    lay(tmp_path, "from pkg import other", DECLARED, **more)
    assert loose(tmp_path) == {"pkg/other.py", "side.py", "pkg/templates/page.j2"}


@pytest.mark.parametrize(("deps", "undeclared"), [(["code"], set()), (["code/./run.py"], set()), ([], {"code/run.py"})])
def test_a_script_counts_too_and_a_folder_declares_what_is_in_it(
    tmp_path: Path, deps: list[str], undeclared: set[str]
) -> None:
    lay(tmp_path, "", deps, cmd="python code/run.py", **{"code/run.py": "import json"})
    assert loose(tmp_path) == undeclared


@pytest.mark.parametrize("code", ["def (", "\0"])
def test_code_that_cannot_be_read_is_told(tmp_path: Path, code: str) -> None:
    lay(tmp_path, code, DECLARED)
    finding = Code(dag.revision(tmp_path, None)).check(NONE)
    assert finding.state == "broken"
    assert "its code cannot be read" in finding.problem


@pytest.mark.parametrize("cmd", ["echo hello", "python -m json.tool", "'python -m \"unbalanced'"])
def test_a_command_without_code_of_the_project_cannot_be_told(tmp_path: Path, cmd: str) -> None:
    lay(tmp_path, "", [], cmd=cmd)
    assert Code(dag.revision(tmp_path, None)).check(NONE).state == "unchecked"


def test_it_finds_what_stages_hash_for_their_own_digest() -> None:
    """Run records have a digest of `closure.code_closure`: for this project both must be the same files."""
    code = Code(dag.revision(ROOT, None))
    for name in code.declared:
        module = code.entry(dag.Instance(name=name, deps={}, outs={}, params={}, changes=()))
        assert module
        assert code.closure(module) == closure.code_closure(module.removesuffix(".py").replace("/", "."))
