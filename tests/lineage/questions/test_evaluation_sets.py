"""Rows of evaluation sets that a takedown takes with it are told by the pictures of pairs that nobody else has."""

import dataclasses
import shutil
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pytest

from lineage import dag, digests, records
from lineage.questions import evaluation_sets, holdings, impact, who_saw
from lineage.questions.holdings import Holdings
from lineage.questions.subjects import Subject
from tests.lineage.questions import small
from tests.lineage.questions.small import sha

FOLDER = "data/benchmarks/emoji"
PARTS = {"train/train": [1, 1, 2, 9], "test/seen": [3], "test/novel": [6, 9]}
"""The pictures of each part's rows; 9 is in no pair."""
FOX, BIRD = (("url_sha256", sha(small.URLS["s1"][number][0])) for number in (1, 3))


@pytest.fixture
def held(laid_down: Path, tmp_path: Path) -> Holdings:
    """The second revision, with an evaluation set."""
    shutil.copytree(laid_down, tmp_path / "project")
    found = holdings.at(tmp_path / "project")
    for part, numbers in PARTS.items():
        uids = [digests.sha256_bytes(small.picture(n))[:32] for n in numbers]
        records.write_table(pa.table({"uid": uids}), found.root / FOLDER / f"{part}.parquet")
    records.write_table(pa.table({"sha256": ["a"]}), found.root / FOLDER / "test_hashes.parquet")
    return dataclasses.replace(found, outs={**found.outs, FOLDER: "0" * 32 + ".dir"})


def losses(held: Holdings, *opt_outs: impact.OptOut) -> dict[str, dict[str, int]]:
    row_n = {name: impact.touched(held, name, opt_outs).row_n for name in held.snapshots}
    return evaluation_sets.losses(held, row_n, [value for kind, value in opt_outs if kind == "sha256"])


def test_rows_are_told_by_part_and_what_another_pair_has_stays(held: Holdings) -> None:
    assert losses(held, FOX) == {"emoji": {"train": 2}}
    assert losses(held, BIRD) == {}, "a copy of it stands under another link"
    assert losses(held, BIRD, ("host_sha256", sha("c.test"))) == {"emoji": {"novel": 1, "seen": 1}}


def test_a_picture_may_be_named_that_is_in_no_pair(held: Holdings) -> None:
    digest = digests.sha256_bytes(small.picture(9))
    assert losses(held, ("sha256", digest)) == {"emoji": {"novel": 1, "train": 1}}


def test_a_set_that_is_not_here_is_left_out_and_named(held: Holdings) -> None:
    assert evaluation_sets.not_here(held) == []
    (held.root / FOLDER / "test/novel.parquet").unlink()
    assert evaluation_sets.not_here(held) == []  # of the working tree, what lies there counts
    shutil.rmtree(held.root / FOLDER)
    assert losses(held, FOX) == {}
    assert evaluation_sets.not_here(held) == ["emoji"]


@pytest.mark.parametrize("kind", ["sha256", "picture", "url"])
def test_who_saw_names_the_sets_that_have_the_bytes(held: Holdings, kind: Literal["sha256", "picture", "url"]) -> None:
    digest = digests.sha256_bytes(small.picture(9))
    asked = Subject(kind=kind, text="http://no.test/" if kind == "url" else digest, digest=digest)
    told = who_saw.answer(who_saw.reached(asked, held))
    assert told["rows"] == 0
    assert told["sets"] == ({} if kind == "url" else {"emoji": {"novel": 1, "train": 1}})


def stages(held: Holdings, *opt_outs: impact.OptOut) -> dict[str, bool]:
    """Returns {stage that would rerun: whether for sure}; the DAG checks a set, screens by it and measures by it."""
    graph = dag.load(held.revision)
    checks = {
        "benchmarks@emoji": ({"data/sets/emoji": ""}, {FOLDER: ""}),
        "measures": ({FOLDER: ""}, {"results/a": ""}),
    }
    made = {name: dag.Instance(name=name, deps=d, outs=o, params={}, changes=()) for name, (d, o) in checks.items()}
    screen = graph.instances["screen"]
    made["screen"] = dataclasses.replace(screen, deps={**screen.deps, FOLDER: ""})
    graph = dataclasses.replace(graph, instances={**graph.instances, **made})
    found = impact.impact(held, opt_outs, graph, {})
    return {stage["stage"]: stage["is_certain"] for stage in found["stages"]}


def test_what_rests_on_a_set_reruns_and_where_it_lost_a_test_picture_perhaps_all(held: Holdings) -> None:
    in_train, in_test = stages(held, FOX), stages(held, ("sha256", digests.sha256_bytes(small.picture(6))))
    for told in (in_train, in_test):
        assert told["benchmarks@emoji"]
        assert told["measures"]
    assert in_test["pack@s2"], "it had a kept pair"
    assert not in_test["scorer"]
    assert not in_test["pack@s1"]
    nowhere = stages(held, ("url_sha256", sha("http://b.test/gone.png")))
    assert not {"benchmarks@emoji", "measures"} & set(nowhere)
