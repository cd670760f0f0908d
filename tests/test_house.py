"""The architecture as assertions: names, closures, params, sizes, README."""

import ast
import dataclasses
import importlib
import importlib.metadata
import itertools
import re
import shlex
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from lineage import closure, params, reasons, stage

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("lineage", "pipelines", "cyclip_model", "flows")
DAG: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text())
STAGES: dict[str, Any] = DAG["stages"]
PARAMS: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())
UNTUNED = {"audit", "embed_tests", "trail"}
"""Stages without a number of their own: embed_tests reads embed's."""
NUM_SMALL_ROOTS = 3
"""data/optouts.parquet, data/scores.parquet, data/concepts.txt."""
TUNED = sorted(set(STAGES) - UNTUNED)
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
MAX_FILE_LINES, MAX_FUNCTION_LINES, MEDIAN_FUNCTION_LINES = 300, 60, 12


def module_of(name: str) -> str:
    command = shlex.split(STAGES[name]["cmd"])
    assert command[:2] == ["python", "-m"]
    return command[2]


def functions() -> Iterator[tuple[str, int]]:
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                yield f"{path.relative_to(ROOT)}:{node.name}", node.end_lineno - node.lineno + 1


@pytest.mark.parametrize("name", STAGES)
def test_one_word_names_stage_module_section_test_and_provenance(name: str) -> None:
    package, word = module_of(name).split(".")
    assert word == name
    assert (name in PARAMS) == (name not in UNTUNED)
    assert (ROOT / "tests" / package / f"test_{name}.py").is_file()
    assert STAGES[name]["cmd"].split()[-1].startswith(f"provenance/{name}/")
    assert stage._MODULES[name] == package


@pytest.mark.parametrize("name", STAGES)
def test_code_deps_are_the_import_closure(name: str) -> None:
    listed = sorted(dep for dep in STAGES[name]["deps"] if dep.split("/")[0] in PACKAGES)
    assert listed == closure.code_closure(module_of(name)), f"deps of {name} in dvc.yaml must be its import closure"


@pytest.mark.parametrize("name", STAGES)
def test_command_shows_every_data_dep_and_out(name: str) -> None:
    entry = STAGES[name]
    words = shlex.split(entry["cmd"])[3:]
    data = [dep for dep in entry["deps"] if dep.split("/")[0] not in PACKAGES]
    for path in [*data, *entry["outs"]]:
        assert any(path == word or path.startswith(f"{word}/") for word in words), f"{path} is not in the command"


def config_of(name: str) -> type:
    module = importlib.import_module(module_of(name))
    wanted = f"{name.capitalize()}Config"
    assert hasattr(module, wanted), f"{module_of(name)} must have {wanted}"
    found: type = getattr(module, wanted)
    return found


def keys_of(cls: type, prefix: str) -> set[str]:
    found = set()
    for key, hint in get_type_hints(cls).items():
        nested = next((arg for arg in (hint, *get_args(hint)) if dataclasses.is_dataclass(arg)), None)
        found |= keys_of(nested, f"{prefix}.{key}") if isinstance(nested, type) else {f"{prefix}.{key}"}
    return found


def keys_in(content: Any, prefix: str, fields: set[str]) -> set[str]:
    if content is None and prefix not in fields:  # a section that may be null
        return {field for field in fields if field.startswith(f"{prefix}.")} or {prefix}
    if not isinstance(content, dict) or prefix in fields:
        return {prefix}
    return {found for key, value in content.items() for found in keys_in(value, f"{prefix}.{key}", fields)}


@pytest.mark.parametrize("name", TUNED)
def test_every_param_is_a_field_and_every_field_a_param(name: str) -> None:
    fields = keys_of(config_of(name), name)
    assert keys_in(PARAMS[name], name, fields) == fields or not fields


@pytest.mark.parametrize("name", TUNED)
def test_configs_are_frozen_slotted_keyword_only_and_without_defaults(name: str) -> None:
    cls = config_of(name)
    assert cls.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert hasattr(cls, "__slots__")
    for field in dataclasses.fields(cls):
        assert field.kw_only
        assert field.default is dataclasses.MISSING
        assert field.default_factory is dataclasses.MISSING


def test_the_bucket_deployment_has_the_same_dag() -> None:
    made = subprocess.run([sys.executable, ROOT / "deploy/s3/make.py"], capture_output=True, text=True, check=True)
    text = (ROOT / "deploy/s3/dvc.yaml").read_text()
    assert text == made.stdout, "bring it up to date: python deploy/s3/make.py > deploy/s3/dvc.yaml"
    persistent = ":\n          persist: true\n"
    assert yaml.safe_load(text.replace("${root}/./", "").replace(persistent, "\n")) == DAG
    local = set()
    for entry in yaml.safe_load(text)["stages"].values():
        assert "${root}" not in str({**entry, "cmd": ""}), "DVC tracks pointers in the project, never the bucket"
        for out in entry["outs"]:
            path = out if isinstance(out, str) else next(iter(out))
            assert (f"${{root}}/./{path}" in shlex.split(entry["cmd"])) == isinstance(out, dict)
            local |= {path.split("/${")[0]} if isinstance(out, str) else set()
    kept_here = {"data/audit", "data/trail", "report", "results"}
    assert {path for path in local if not path.startswith("provenance/")} == kept_here


def test_params_has_known_sections_only() -> None:
    assert set(PARAMS) <= params.SECTIONS


def test_what_reaches_a_shell_is_a_plain_name() -> None:
    for key in ("snapshots", "objectives", "sets"):
        assert params.names(key, ROOT / "params.yaml")
    assert params.seeds(ROOT / "params.yaml")


def test_dvc_sees_the_roots_of_the_dag() -> None:
    from dvc.repo import Repo

    with Repo(str(ROOT)) as repo:
        seen = {stage.relpath for stage in repo.index.stages if stage.is_data_source}
    tracked = {path.relative_to(ROOT).as_posix() for path in (ROOT / "data").rglob("*.dvc")}
    assert seen == tracked
    assert len(tracked) == len(PARAMS["snapshots"]) + len(PARAMS["sets"]) + NUM_SMALL_ROOTS


def test_every_line_of_params_with_a_number_has_a_comment() -> None:
    lines = (ROOT / "params.yaml").read_text().splitlines()
    bare = [line for line in lines if re.search(r":\s+-?[\d\[]", line) and "#" not in line]
    assert not bare


@pytest.mark.parametrize("section", ["runner", "loader"])
def test_what_no_result_depends_on_is_in_no_stage(section: str) -> None:
    assert section in PARAMS
    for name, entry in STAGES.items():
        assert section not in {key.split(".")[0] for key in entry.get("params", ())}, name


def test_files_and_functions_stay_small() -> None:
    paths = [*SOURCES, *(path for name in ("tests", "benchmarks", "deploy") for path in (ROOT / name).rglob("*.py"))]
    long_files = {str(path): n for path in paths if (n := len(path.read_text().splitlines())) > MAX_FILE_LINES}
    assert not long_files
    lengths = dict(functions())
    assert not {name: n for name, n in lengths.items() if n > MAX_FUNCTION_LINES}
    assert statistics.median(lengths.values()) <= MEDIAN_FUNCTION_LINES


def test_no_catch_all_modules() -> None:
    assert not [path for path in SOURCES if path.stem in ("utils", "helpers", "common")]


def test_tests_mirror_the_tree() -> None:
    for path in SOURCES:
        relative = path.relative_to(ROOT)
        if path.name in ("__init__.py", "__main__.py"):
            continue
        tests = ROOT / "tests" / relative.parent
        assert any(path.stem in test.read_text() for test in tests.rglob("test_*.py")), f"no test speaks of {relative}"


def test_import_contracts_hold() -> None:
    done = subprocess.run([Path(sys.executable).parent / "lint-imports"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_no_stage_depends_on_all_of_provenance() -> None:
    for name, entry in STAGES.items():
        assert "provenance" not in entry["deps"], name
        assert f"provenance/{name}" not in entry["deps"], name


def test_reasons_are_snake_case_words_with_a_meaning() -> None:
    groups = [reasons.SOURCE, reasons.DOWNLOAD, reasons.MEASURE, reasons.EMBED, reasons.SELECT, reasons.TRAIN]
    assert len(reasons.ALL) == sum(map(len, groups)), "a word stands in one group only"
    for word, meaning in reasons.ALL.items():
        assert re.fullmatch(r"[a-z][a-z0-9_]*", word)
        assert meaning


def test_readme_tree_is_the_real_tree() -> None:
    readme = (ROOT / "README.md").read_text()
    for name in itertools.chain(PACKAGES, ("tests", "docs", "dvc.yaml", "params.yaml")):
        assert name in readme
        assert (ROOT / name).exists()


def test_commands_in_the_readme_exist() -> None:
    blocks = re.findall(r"```(?:sh|console)\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    shown = [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]
    for line in shown:
        words = shlex.split(line, comments=True) if line.startswith(("make", "python -m")) else []
        if words[:1] == ["make"]:
            assert {word for word in words[1:] if "=" not in word} <= targets, line
        elif words[:2] == ["python", "-m"]:
            module = words[2]
            assert module in ("venv", "pip") or importlib.util.find_spec(module) is not None, line


@pytest.mark.parametrize("version", ["3.11.0", "3.11.99"])
def test_the_lock_is_whole_for_every_release_of_python_3_11(version: str) -> None:
    lines = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if "==" in line]
    locked = {canonicalize_name(line.partition("==")[0]) for line in lines}
    environment = {"python_full_version": version, "extra": ""}
    asked = {
        (canonicalize_name(asks.name), name)
        for name in locked
        for asks in map(Requirement, importlib.metadata.requires(name) or [])
        if asks.marker is None or asks.marker.evaluate(environment)
    }
    missing = {name for name, _ in asked} - locked
    assert missing <= {"dataclasses"}, "it shadows the standard library: see the head of the lock"


def test_nothing_names_a_registry_host_in_the_locks() -> None:
    for name in ("package-lock.json", "requirements.lock"):
        assert "://" not in (ROOT / name).read_text(), name


def test_no_data_is_tracked_by_git() -> None:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    tracked = [name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]
    large = [name for name in tracked if (ROOT / name).stat().st_size > 1 << 20]
    assert not large
    shown = [name for name in tracked if name.startswith(("docs/ui/", "docs/lineage/"))]
    assert not [name for name in shown if (ROOT / name).stat().st_size > 200_000], "pictures of pages stay small"
    kinds = (".tar", ".parquet", ".safetensors", ".png", ".webp")
    assert not [name for name in set(tracked) - set(shown) if Path(name).suffix in kinds]
