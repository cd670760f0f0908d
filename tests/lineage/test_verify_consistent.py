"""Who tampers and then makes the records agree: what still gives it away, and what rightly stays unattested."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lineage import digests, files, records, runs
from lineage.verify import verify
from tests.builders import RawPair, make_picture, write_raw
from tests.lineage import verify_project as made
from tests.lineage.test_verify import EXPOSURE, MANIFEST, SHARD
from tests.lineage.verify_project import found
from tests.project import Project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PACK, TRAIN = "provenance/pack/s1.json", "provenance/train/clip-0.json"


def describe_anew(root: Path, provenance: str, out: str, **changed: Any) -> None:
    """Makes a provenance file agree with what is on disk, and dvc.lock with both."""
    made.edit_json(
        root / provenance,
        lambda content: content.update(outs={out: digests.described(root / out)}, **changed),
    )
    made.relock(root)


def test_a_shard_and_dvc_lock(victim: Path) -> None:
    made.flip(victim / SHARD, 600)
    made.relock(victim)
    seen = found(victim)
    assert set(seen) >= {("provenance", "pack@s1"), ("records", "pack@s1"), ("rows", SHARD)}
    assert "made other outs than dvc.lock says" in seen["records", "pack@s1"]
    assert ("bytes", "data/shards/s1") not in seen
    Project(victim).commit("forged")
    assert set(found(victim, rev="HEAD")) == set(seen)


def test_a_shard_and_dvc_lock_and_the_provenance_file(victim: Path) -> None:
    made.flip(victim / SHARD, 600)
    describe_anew(victim, PACK, "data/shards/s1")
    seen = found(victim)
    assert ("provenance", "pack@s1") not in seen
    assert "has a run of the same code, inputs and params" in seen["records", "pack@s1"]
    assert ("rows", SHARD) in seen


def repack_with_other_pictures(victim: Path) -> None:
    """Puts shards in place that are whole in themselves, with other pictures under the same names."""
    others = [
        RawPair(url=pair.url, caption=pair.caption, picture=make_picture(99 + number))
        for number, pair in enumerate(made.PAIRS["s1"])
    ]
    raw = victim / "data/raw/s1"
    shutil.copytree(raw, victim / "kept-raw")
    write_raw(raw, others)
    Project(victim).run("python", "-m", "dvc", "repro", "--force", "--single-item", "pack@s1")
    shutil.rmtree(raw)
    shutil.move(victim / "kept-raw", raw)
    Project(victim).run("git", "checkout", "runs")


def test_shards_packed_from_other_pictures_and_every_record_of_them(victim: Path) -> None:
    repack_with_other_pictures(victim)
    parents = files.read_json(victim / PACK)["parents"]
    parents["data/raw/s1"] = digests.dvc_digest(victim / "data/raw/s1")
    describe_anew(victim, PACK, "data/shards/s1", parents=parents)
    seen = found(victim)
    assert ("rows", SHARD) not in seen
    assert "has another source_sha256 than the ledger" in seen["rows", MANIFEST]
    assert ("rows", "data/dataset/root.json") in seen
    assert ("records", "pack@s1") in seen
    rebuilt = found(victim, shard="s1/train/00000.tar")
    assert rebuilt["rebuild", SHARD] == "packed from raw it has other bytes"


def rechained(lines: list[str]) -> str:
    """Returns run records with every chain hashed anew."""
    previous: dict[str, str] = {}
    out = []
    for line in lines:
        record = json.loads(line)
        record["previous"] = previous.get(record["instance"])
        out.append(json.dumps(record, sort_keys=True, ensure_ascii=False))
        previous[record["instance"]] = digests.sha256_bytes(out[-1].encode())
    return "\n".join(out) + "\n"


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: [lines[0].replace('"seconds": ', '"seconds": 1'), *lines[1:]],
        lambda lines: [lines[0], *lines[2:]],
        lambda lines: lines[:-1],
        lambda lines: [*lines[:-2], lines[-1], lines[-2]],
    ],
)
def test_run_records_changed_and_their_chain_hashed_anew(
    victim: Path, change: Callable[[list[str]], list[str]]
) -> None:
    path = victim / "runs/pack.jsonl"
    made.replace(path, rechained(change(path.read_text().splitlines())))
    problem = "lines that are committed are changed or removed in the workspace"
    assert found(victim) == {("history", "runs/pack.jsonl"): problem}
    Project(victim).commit("nothing to see here")
    head = Project(victim).run("git", "rev-parse", "HEAD").stdout[:12]
    expected = {("history", "runs/pack.jsonl"): f"commit {head} changed or removed lines that were committed"}
    Project(victim).run("git", "commit", "--quiet", "--allow-empty", "-m", "later")
    assert found(victim) == found(victim, rev="HEAD") == expected
    assert found(victim, rev="HEAD~2") == {}


def test_a_file_of_run_records_removed(victim: Path) -> None:
    (victim / "runs/dataset.jsonl").unlink()
    assert set(found(victim)) == {("history", "runs/dataset.jsonl")}
    assert ("records", "dataset") in found(victim, "unattested")
    Project(victim).commit("gone")
    assert set(found(victim)) == {("history", "runs/dataset.jsonl")}


def forged_record(root: Path, stage: str, instance: str) -> None:
    """Appends a record that claims the run that dvc.lock tells of."""
    last = [record for record in runs.read(stage, root / "runs") if record["instance"] == instance][-1]
    outs = {path: digests.dvc_digest(root / path) for path in last["outs"]}
    runs.append(stage, {**last, "outs": outs}, root / "runs")


def test_fewer_rows_of_exposure_and_every_record_of_them(victim: Path) -> None:
    made.edit_table(victim / EXPOSURE, records.EXPOSURE, lambda rows: rows[1:])
    describe_anew(victim, TRAIN, "models/clip-0")
    seen = found(victim)
    assert set(seen) == {("records", "train@clip-0"), ("rows", EXPOSURE)}
    assert "has a run of the same code, inputs and params" in seen["records", "train@clip-0"]
    forged_record(victim, "train", "clip-0")
    assert set(found(victim)) == {("rows", EXPOSURE)}
    problem = found(victim, "unattested")["records", "train@clip-0"]
    assert problem.startswith("runs/train.jsonl has these outs, but also a run (commit ")


def test_fewer_rows_of_exposure_whose_samples_went_to_another(victim: Path) -> None:
    def move(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        rows[1]["count"] += rows[0]["count"]
        return rows[1:]

    made.edit_table(victim / EXPOSURE, records.EXPOSURE, move)
    counts = files.read_json(victim / TRAIN)["counts"]
    told = {**counts, "kept": counts["kept"] - 1, "dropped": {**counts["dropped"], "never_drawn": 1}}
    describe_anew(victim, TRAIN, "models/clip-0", counts=told)
    forged_record(victim, "train", "clip-0")
    assert found(victim) == {("rows", EXPOSURE): "a pair was seen 3 times in 2 epochs"}


def test_a_forged_record_stands_beside_the_one_of_the_real_run(victim: Path) -> None:
    made.edit_json(victim / PACK, lambda content: content["counts"].update(licenses={}))
    made.relock(victim)
    assert "has a run of the same code, inputs and params" in found(victim)["records", "pack@s1"]
    forged_record(victim, "pack", "s1")
    assert set(found(victim)) == {("provenance", "dataset"), ("records", "dataset")}  # which reads provenance/pack
    assert "that made other bytes" in found(victim, "unattested")["records", "pack@s1"]


def test_weights_of_another_machine_are_unattested_and_not_broken(victim: Path) -> None:
    weights = victim / "models/clip-0/open_clip_model.safetensors"
    made.flip(weights, -1)
    describe_anew(victim, TRAIN, "models/clip-0")
    assert found(victim) == {}
    assert set(found(victim, "unattested")) == {("records", "train@clip-0")}
    assert made.cli(victim).returncode == 0
    strict = made.cli(victim, "--strict")
    assert strict.returncode == 1
    assert strict.stderr.startswith("error: unattested: train@clip-0: no record in runs/train.jsonl has these outs")


def test_outs_without_any_record_are_unattested(victim: Path) -> None:
    shutil.rmtree(victim / "runs")
    shutil.rmtree(victim / ".git")
    Project(victim).run("git", "init", "--quiet")
    assert ("history", "runs") in found(victim, "unchecked")
    for words in (("config", "user.name", "test"), ("config", "user.email", "test@example.com")):
        Project(victim).run("git", *words)
    Project(victim).commit("without records")
    report = verify(root=victim)
    assert report.of("broken", "unchecked") == []
    assert {finding.what for finding in report.of("unattested")} == {"pack@s1", "pack@s2", "dataset", "train@clip-0"}


def test_a_shallow_clone_says_that_it_has_no_history(victim: Path, tmp_path: Path) -> None:
    path = victim / "runs/pack.jsonl"
    made.replace(path, rechained(path.read_text().splitlines()[1:]))
    Project(victim).commit("nothing to see here")
    clone = tmp_path / "clone"
    Project(victim).run("git", "clone", "--quiet", "--depth", "1", f"file://{victim}", str(clone))
    assert found(clone) == {}
    assert "this clone is shallow" in found(clone, "unchecked")["history", "runs"]


def test_code_that_dvc_lock_names_and_no_run_had_is_unattested(victim: Path) -> None:
    code = victim / "pipelines/tar.py"
    made.replace(code, code.read_text() + "\n# another\n")
    made.relock(victim)
    assert found(victim) == {}
    problem = "runs/pack.jsonl has these outs, but of other code than dvc.lock says"
    expected = {("records", "pack@s1"): problem, ("records", "pack@s2"): problem}
    assert found(victim, "unattested") == expected
    Project(victim).repro("--force", "--single-item", "pack@s1")
    assert set(found(victim, "unattested")) == {("records", "pack@s2")}


def test_a_stage_taken_out_of_dvc_lock(victim: Path) -> None:
    made.edit_lock(victim, lambda stages: stages.pop("pack@s2"))
    assert ("edge", "dataset: data/shards") in found(victim)
    assert "it has not run" in found(victim, "unchecked")["bytes", "data/shards/s2"]
