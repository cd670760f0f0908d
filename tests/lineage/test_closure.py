"""The code closure of a module holds every file of the project that running it can read."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lineage import closure


@pytest.mark.parametrize("module", ["lineage.audit", "lineage.stage", "lineage.__main__"])
def test_whatever_python_loads_is_in_the_closure(module: str) -> None:
    code = f"import {module}, sys; print(*[m.__file__ for n, m in sys.modules.items() if n.split('.')[0] == 'lineage'])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=closure.ROOT, capture_output=True, text=True, check=True, env={"PATH": ""}
    )
    loaded = {Path(file).relative_to(closure.ROOT).as_posix() for file in done.stdout.split()}
    assert loaded <= set(closure.code_closure(module))
    assert "lineage/__init__.py" in loaded


def test_the_closure_is_sorted_relative_and_there() -> None:
    found = closure.code_closure("lineage.audit")
    assert found == sorted(set(found))
    assert "lineage/audit.py" in found
    assert "lineage/dag.py" not in found
    assert all((closure.ROOT / file).is_file() for file in found)


def test_an_unknown_module_is_named() -> None:
    for name in ("lineage.none", "json", "os.path"):
        with pytest.raises(ValueError, match=f"{name}: no such module"):
            closure.code_closure(name)


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project of its own, so that each form of import can be tried."""
    monkeypatch.setattr(closure, "ROOT", tmp_path)
    cached = (closure._file_of, closure._imports, closure._templates)
    for function in cached:
        function.cache_clear()
    for name, text in {
        "lineage/__init__.py": "",
        "lineage/a.py": "import json\nfrom lineage import b\n",
        "lineage/b.py": "def f():\n    import pipelines.deep.c as c\n    return c\n",
        "pipelines/__init__.py": "",
        "pipelines/deep/__init__.py": "",
        "pipelines/deep/c.py": 'from lineage.a import x\nPAGE = "page.html"\n',
        "pipelines/deep/templates/page.html": "",
        "pipelines/deep/templates/unused.html": "",
        "lineage/alone.py": "",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    yield tmp_path
    for function in cached:
        function.cache_clear()


@pytest.mark.usefixtures("made")
def test_imports_in_functions_parents_cycles_and_templates_count() -> None:
    assert closure.code_closure("lineage.a") == [
        "lineage/__init__.py",
        "lineage/a.py",
        "lineage/b.py",
        "pipelines/__init__.py",
        "pipelines/deep/__init__.py",
        "pipelines/deep/c.py",
        "pipelines/deep/templates/page.html",
    ]
    assert closure.code_closure("lineage.alone") == ["lineage/__init__.py", "lineage/alone.py"]
