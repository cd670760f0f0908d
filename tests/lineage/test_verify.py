"""verify on a project of real stages: ten kinds of tampering, none missed, no false alarm where nothing is wrong."""

import json
import shutil
from pathlib import Path

import pytest

from lineage import files, records
from lineage.verify import verify
from tests.lineage import verify_project as made
from tests.lineage.conftest import dvc
from tests.lineage.verify_project import found
from tests.project import Project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SHARD = "data/shards/s1/train/00000.tar"
MANIFEST = "data/shards/s1/manifest.parquet"
EXPOSURE = "models/clip-0/exposure.parquet"
WEIGHTS = "models/clip-0/open_clip_model.safetensors"


@pytest.mark.parametrize("rev", [None, "HEAD", "HEAD~1", "HEAD~3"])
def test_nothing_is_wrong_with_what_the_stages_made(real: Path, rev: str | None) -> None:
    report = verify(rev=rev, root=real)
    assert report.of("broken", "unattested", "unchecked") == []
    checks = {finding.check for finding in report.findings}
    assert checks == {"bytes", "edge", "provenance", "records", "chain", "history", "imports", "rows"}
    rows = {finding.what for finding in report.findings if finding.check == "rows"}
    assert {SHARD, MANIFEST, EXPOSURE, "data/dataset/root.json", "data/shards/s2/val/00000.tar"} <= rows


def test_a_result_alone_is_followed_down_to_the_roots(real: Path) -> None:
    report = verify(["data/shards/s1"], root=real)
    hashed = {finding.what for finding in report.findings if finding.check == "bytes"}
    assert hashed == {"data/shards/s1", "provenance/pack/s1.json", "data/raw/s1", "data/selection"}
    assert report.of("broken", "unattested", "unchecked") == []


@pytest.mark.parametrize("place", [600, 1030, -1])
def test_1_a_flipped_byte_in_a_shard(victim: Path, place: int) -> None:
    made.flip(victim / SHARD, place)
    seen = found(victim)
    assert seen["bytes", "data/shards/s1"].startswith("train/00000.tar is ")
    assert "another sha256" in seen["rows", "data/dataset/root.json"]
    assert (("rows", SHARD) in seen) == (place > 0)  # the last byte lies in no member
    assert found(victim, rev="HEAD") == {}


def test_2_two_rows_of_a_manifest_swapped(victim: Path) -> None:
    made.edit_table(victim / MANIFEST, records.MANIFEST, lambda rows: [rows[1], rows[0], *rows[2:]])
    seen = found(victim)
    assert seen["rows", MANIFEST] == "its rows are not in order of uid, each once"
    assert seen["bytes", "data/shards/s1"].startswith("manifest.parquet is ")


def test_2_two_rows_of_a_manifest_with_their_places_swapped(victim: Path) -> None:
    def swap(rows: list[dict]) -> list[dict]:
        one, other = [row for row in rows if row["shard"] == "train/00000.tar"][:2]
        one["uid"], other["uid"] = other["uid"], one["uid"]
        return sorted(rows, key=lambda row: row["uid"])

    made.edit_table(victim / MANIFEST, records.MANIFEST, swap)
    assert "is not where the manifest says" in found(victim)["rows", SHARD]


@pytest.mark.parametrize(
    ("stage", "kind", "path", "broken"),
    [
        ("pack@s1", "outs", "data/shards/s1", ("bytes", "data/shards/s1")),
        ("pack@s1", "outs", "data/shards/s1", ("provenance", "pack@s1")),
        ("pack@s1", "outs", "data/shards/s1", ("records", "pack@s1")),
        ("pack@s1", "deps", "data/raw/s1", ("edge", "pack@s1: data/raw/s1")),
        ("pack@s1", "deps", "data/raw/s1", ("provenance", "pack@s1")),
        ("train@clip-0", "deps", "data/dataset/root.json", ("edge", "train@clip-0: data/dataset/root.json")),
        ("train@clip-0", "outs", "provenance/train/clip-0.json", ("bytes", "provenance/train/clip-0.json")),
        ("dataset", "deps", "pipelines/cards.py", ("edge", "dataset: code 0")),
    ],
)
def test_3_an_edited_dvc_lock(victim: Path, stage: str, kind: str, path: str, broken: tuple[str, str]) -> None:
    def edit(stages: dict) -> None:
        digest = made.entry(stages, stage, kind, path)
        digest["md5"] = "0" * 32 + digest["md5"][32:]

    made.edit_lock(victim, edit)
    check, what = broken
    assert [place for place in found(victim) if place[0] == check and place[1].startswith(what.rstrip("0"))]


def test_4_params_changed_after_training(victim: Path) -> None:
    made.edit_params(victim, lambda content: content["train"].update(lr=0.5))
    assert found(victim) == {
        ("edge", "train@clip-0: params losses.clip, train"): "params at this revision differ from what ran: train"
    }
    made.edit_lock(victim, lambda stages: stages["train@clip-0"]["params"]["params.yaml"]["train"].update(lr=0.5))
    assert found(victim) == {
        ("provenance", "train@clip-0"): "params train: dvc.lock and provenance/train/clip-0.json name other values"
    }


def test_5_a_replaced_model_file(victim: Path) -> None:
    content = (victim / WEIGHTS).read_bytes()
    made.replace(victim / WEIGHTS, content[:-4] + bytes(4))
    assert found(victim)["bytes", "models/clip-0"].startswith("open_clip_model.safetensors is ")
    made.relock(victim)
    seen = found(victim)
    assert "models/clip-0: dvc.lock says " in seen["provenance", "train@clip-0"]
    assert "made other outs than dvc.lock says" in seen["records", "train@clip-0"]


def test_6_a_model_trained_from_another_data_set(victim: Path) -> None:
    older = made.lock_at(victim, "HEAD~3")
    outs = {each["path"]: each["md5"] for each in older["train@clip-0"]["outs"]}
    for path, digest in outs.items():
        made.take_from_cache(victim, digest, victim / path)
    assert set(found(victim)) >= {("bytes", path) for path in outs} | {("rows", EXPOSURE)}
    made.relock(victim)
    seen = found(victim)
    assert "data/dataset/root.json: dvc.lock says " in seen["provenance", "train@clip-0"]
    assert "made from other inputs than dvc.lock says" in seen["records", "train@clip-0"]
    assert "is no pair it could see" in seen["rows", EXPOSURE] or "the data set has" in seen["rows", EXPOSURE]
    made.edit_lock(victim, lambda stages: stages.update({"train@clip-0": older["train@clip-0"]}))
    seen = found(victim)
    assert ("edge", "train@clip-0: data/dataset/root.json") in seen
    assert ("rows", EXPOSURE) in seen
    assert not [place for place in seen if place[0] in ("provenance", "records")]


@pytest.mark.parametrize(
    ("line", "file"),
    [
        ("import extra", "extra.py"),
        ("from pipelines import extra", "pipelines/extra.py"),
        ("from . import extra", "pipelines/extra.py"),
        ("def late():\n    import importlib\n    importlib.import_module('extra.deep')", "extra/deep.py"),
    ],
)
def test_7_an_undeclared_import(victim: Path, line: str, file: str) -> None:
    (victim / file).parent.mkdir(exist_ok=True)
    (victim / file).write_text("")
    code = victim / "pipelines/tar.py"
    made.replace(code, code.read_text() + f"\n{line}\n")
    made.relock(victim)
    seen = found(victim)
    assert {place for place in seen if place[0] == "imports"} == {("imports", "pack@s1"), ("imports", "pack@s2")}
    assert seen["imports", "pack@s1"] == f"uses {file}, which is not among its deps"


def test_7_a_dep_removed_from_dvc_yaml_and_dvc_lock(victim: Path) -> None:
    text = (victim / "dvc.yaml").read_text()
    made.replace(victim / "dvc.yaml", text.replace("    - pipelines/tar.py\n", ""))

    def remove(stages: dict) -> None:
        for name in ("pack@s1", "pack@s2"):
            stages[name]["deps"].remove(made.entry(stages, name, "deps", "pipelines/tar.py"))

    made.edit_lock(victim, remove)
    problem = "uses pipelines/tar.py, which is not among its deps"
    assert found(victim) == {("imports", "pack@s1"): problem, ("imports", "pack@s2"): problem}


@pytest.mark.parametrize(("name", "line"), [("pack", 0), ("pack", 3), ("train", 0), ("train", 1)])
def test_8_a_run_record_edited(victim: Path, name: str, line: int) -> None:
    path = victim / f"runs/{name}.jsonl"
    lines = path.read_text().splitlines()
    lines[line] = lines[line].replace('"seconds": ', '"seconds": 1')
    made.replace(path, "\n".join(lines) + "\n")
    seen = found(victim)
    is_last = name == "train" and line == 1
    assert ("history", f"runs/{name}.jsonl") in seen
    assert (("chain", f"runs/{name}.jsonl") in seen) == (not is_last)


def test_9_a_run_record_removed_from_the_middle_of_a_chain(victim: Path) -> None:
    path = victim / "runs/pack.jsonl"
    lines = path.read_text().splitlines()
    of_s1 = [number for number, line in enumerate(lines) if json.loads(line)["instance"] == "s1"]
    assert len(of_s1) == 3
    del lines[of_s1[1]]
    made.replace(path, "\n".join(lines) + "\n")
    assert found(victim) == {
        ("chain", "runs/pack.jsonl"): f"line {of_s1[2]}: the chain of pack@s1 is broken here",
        ("history", "runs/pack.jsonl"): "lines that are committed are changed or removed in the workspace",
    }


def test_10_an_exposure_with_fewer_rows(victim: Path) -> None:
    made.edit_table(victim / EXPOSURE, records.EXPOSURE, lambda rows: rows[1:])
    seen = found(victim)
    assert seen["bytes", "models/clip-0"].startswith("exposure.parquet is ")
    counted = files.read_json(victim / "provenance/train/clip-0.json")["counts"]
    assert f"names {counted['kept'] - 1} pairs, its run counted {counted['kept']}" in seen["rows", EXPOSURE]
    made.relock(victim)
    seen = found(victim)
    assert {("rows", EXPOSURE), ("provenance", "train@clip-0"), ("records", "train@clip-0")} <= set(seen)


def test_what_was_not_pulled_is_told_and_is_no_failure(victim: Path) -> None:
    for path in (*victim.glob("data/shards/*/*/*.tar"), *victim.glob("data/raw/*/*.tar"), victim / WEIGHTS):
        path.unlink()
    for held in victim.glob(".dvc/cache/files/md5/*/*"):
        if held.suffix != ".dir":  # which come along with any file of their folder
            held.unlink()
    report = verify(root=victim)
    assert report.of("broken", "unattested") == []
    unchecked = made.by_place(report.of("unchecked"))
    assert unchecked["bytes", "data/shards/s1"].startswith("3 of 4 files are not here: train/00000.tar")
    assert ("rows", SHARD) in unchecked
    assert ("rows", MANIFEST) not in unchecked
    done = made.cli(victim)
    assert done.returncode == 0, done.stderr
    assert "not checkable here" in done.stdout
    made.edit_table(victim / MANIFEST, records.MANIFEST, lambda rows: rows[:-1])
    assert ("rows", MANIFEST) in found(victim)


def test_of_a_bare_clone_only_what_git_holds_can_be_checked(real: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    Project(real).run("git", "clone", "--quiet", str(real), str(clone))
    shutil.rmtree(clone / ".dvc/cache", ignore_errors=True)
    for rev in (None, "HEAD"):
        report = verify(root=clone, rev=rev)
        assert report.of("broken", "unattested") == []
        good = {finding.check for finding in report.findings if finding.state == "good"}
        assert good == {"edge", "records", "chain", "history", "imports"}


def test_a_damaged_cache_is_found_at_a_revision(victim: Path) -> None:
    digest = made.entry(made.lock_at(victim, "HEAD"), "pack@s1", "outs", "data/shards/s1")["md5"]
    held = victim / ".dvc/cache/files/md5"
    listing = {each["relpath"]: each["md5"] for each in files.read_json(held / digest[:2] / digest[2:])}
    shard = held / listing["train/00000.tar"][:2] / listing["train/00000.tar"][2:]
    made.flip(shard, 600)
    seen = found(victim, rev="HEAD")
    assert set(seen) == {("bytes", "data/shards/s1"), ("rows", SHARD), ("rows", "data/dataset/root.json")}
    assert found(victim) == {}
    shard.unlink()
    assert found(victim, rev="HEAD") == {}
    assert ("bytes", "data/shards/s1") in found(victim, "unchecked", rev="HEAD")


def test_a_toy_without_records_is_unattested_and_not_broken(project: Path) -> None:
    assert dvc(project, "status") == "Data and pipelines are up to date."
    report = verify(root=project)
    stages = {finding.what for finding in report.findings if finding.check == "imports"}
    assert {finding.what for finding in report.of("unattested")} == stages
    broken = {(finding.check, finding.what) for finding in report.of("broken")}
    loose = {("imports", "train@clip-0"), ("imports", "train@cyclip-0")}  # it does not list its script
    assert broken == {("provenance", name) for name in stages} | loose  # its provenance files are numbers
