"""`lineage export`: where it writes, what it says, what it refuses; its libraries load only when it is asked."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lineage.exports.conftest import Export, checkout, export, laid

__all__ = ["checkout", "export", "laid"]


@pytest.mark.parametrize(
    ("what", "name"),
    [("openlineage", "openlineage.ndjson"), ("croissant", "croissant.json"), ("bom", "bom.cdx.json")],
)
def test_a_file_a_new_folder_and_standard_output_hold_the_same(
    checkout: Path, export: Export, what: str, name: str
) -> None:
    printed = export(what)
    assert printed.stderr.splitlines()[-1].startswith(f"{what}: ")
    for out, file in (("made/", f"made/{name}"), ("made", f"made/{name}"), ("deep/er/x.json", "deep/er/x.json")):
        done = export(what, "--out", out)
        assert (done.returncode, done.stdout) == (0, f"{done.stdout.splitlines()[-1]}\n"), done.stderr
        assert (checkout / file).read_text(encoding="utf-8") == printed.stdout
    left = [path for path in checkout.rglob(".*") if path.name.endswith(".partial")]
    assert not left


def test_what_it_says_as_json(checkout: Path, export: Export) -> None:
    done = export("openlineage", "--json", "--rev", "HEAD", "--out", "events.ndjson")
    assert done.stderr == ""
    assert json.loads(done.stdout) == {
        "format": "openlineage",
        "revision": "HEAD",
        "out": "events.ndjson",
        "bytes": (checkout / "events.ndjson").stat().st_size,
        "counts": {"events": 14, "runs": 7},
        "left_out": {"no run record made what dvc.lock holds": ["train@clip-1"]},
    }
    beside = export("openlineage", "--json")
    assert json.loads(beside.stderr)["out"] is None
    assert beside.stdout == (checkout / "events.ndjson").read_text()


def test_it_finds_the_project_from_a_folder_inside(checkout: Path, export: Export) -> None:
    assert export("bom", cwd=checkout / "runs").stdout == export("bom").stdout


def test_the_namespace_is_that_of_jobs_and_data_sets(export: Export) -> None:
    event = json.loads(export("openlineage", "--namespace", "prod").stdout.splitlines()[0])
    assert event["job"]["namespace"] == event["inputs"][0]["namespace"] == "prod"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("bom", "--url", "http://127.0.0.1:9"), "--url: only OpenLineage events are posted"),
        (("openlineage", "--url", "http://127.0.0.1:9", "--out", "x"), "--url: only OpenLineage events are posted"),
        (("bom", "--rev", "none"), "none: unknown revision"),
        (("openlineage", "--rev", "--all"), "--all: unknown revision"),
    ],
)
def test_what_it_refuses_in_one_line(export: Export, args: tuple[str, ...], said: str) -> None:
    done = export(*args)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: {said}")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("what", ["openlineage", "croissant", "bom"])
def test_a_place_that_cannot_be_written_is_one_line(checkout: Path, export: Export, what: str) -> None:
    done = export(what, "--out", "dvc.yaml/x.json")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: dvc.yaml/x.json: cannot be written: ")
    assert done.stderr.count("\n") == 1
    assert (checkout / "dvc.yaml").is_file()


def test_other_questions_do_not_load_its_libraries() -> None:
    code = "import sys, lineage.__main__; print([m for m in sys.modules if m.partition('.')[0] in sys.argv[1:]])"
    libraries = ["openlineage", "cyclonedx", "requests", "rdflib", "jsonschema"]
    done = subprocess.run([sys.executable, "-c", code, *libraries], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_nothing_is_written_into_what_dvc_keeps(checkout: Path, export: Export) -> None:
    done = export("croissant", "--out", "data/dataset/card.json")
    assert (done.returncode, done.stderr) == (
        1,
        "error: data/dataset/card.json: lies in data/dataset, which DVC keeps; name another place with --out\n",
    )
    assert not (checkout / "data/dataset/card.json").exists()
