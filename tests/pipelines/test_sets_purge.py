"""From evaluation sets goes what nobody else has, and is counted; killed at any point, the next run ends the same."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from lineage import digests, files, phash, records
from pipelines import pictures, roots, sets_purge
from tests.builders import (
    PARAMS,
    RawPair,
    contents,
    init_repository,
    make_picture,
    make_signals,
    write_raw,
    write_signals,
)
from tests.pipelines.source_builder import source_row

SET = Path("data/sets/emoji")
OURS = [make_picture(n) for n in range(8)]
"""Pictures: 0 to 3 are of pairs and in the set; 4 is of a pair alone, 5 and 6 of the set alone; 7 of two pairs."""
PAIRS = {
    "s1": [RawPair(url=f"http://a.test/{n}.png", caption=f"drawing {n}", picture=OURS[n]) for n in (0, 1, 4, 7)],
    "s2": [RawPair(url=f"http://b.test/{n}.png", caption=f"drawing {n}", picture=OURS[n]) for n in (1, 2, 3, 7)],
}
PARTS = {"train": [5, 0, 1, 1, 2, 6], "seen": [6, 0, 7], "novel": [3, 5]}
"""The pictures of each part's rows, two to a row group."""


def uid(number: int) -> str:
    return digests.sha256_bytes(OURS[number])[:32]


def part_rows(numbers: list[int]) -> pa.Table:
    rows = [{"uid": uid(n), "image": OURS[n], "name": f"{row} of {n}", "more": row} for row, n in enumerate(numbers)]
    names = pa.array([row["name"] for row in rows]).dictionary_encode()
    return pa.Table.from_pylist(rows).set_column(2, "name", names)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of two snapshots and one evaluation set, tracked by DVC, with no opt-outs."""
    folder = tmp_path_factory.mktemp("template")
    init_repository(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        rules = [{"rule": "opt_out", "max_distance": 2}]
        content = PARAMS | {"snapshots": ["s1", "s2"], "sets": ["emoji"], "select": PARAMS["select"] | {"rules": rules}}
        Path("params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
        for name, pairs in PAIRS.items():
            write_raw(Path("data/raw") / name, pairs)
            write_signals(Path("data/signals") / name, [signals_of(pair) for pair in pairs])
        for part, numbers in PARTS.items():
            SET.mkdir(parents=True, exist_ok=True)
            pq.write_table(part_rows(numbers), SET / f"{part}.parquet", row_group_size=2, compression="zstd")
        files.write_json(SET / "set.json", {"name": "emoji"})
        roots.lay()
        roots.dvc("add", str(SET))
    return folder


def signals_of(pair: RawPair) -> dict[str, Any]:
    assert pair.picture is not None
    rgb = pictures.read(pair.picture, 10_000).rgb
    assert rgb is not None
    copied = {name: source_row(pair)[name] for name in ("url_sha256", "host", "host_sha256", "caption")}
    looks = {"phash": phash.hex_hash(phash.perceptual_hash(rgb))}
    return make_signals(pair.uid, sha256=digests.sha256_bytes(pair.picture)) | copied | looks


def track(*words: str) -> None:
    """Notes a folder's digest as `dvc add` does."""
    folder = Path(words[1])
    tracked = folder.with_name(f"{folder.name}.dvc")
    content = yaml.safe_load(tracked.read_text())
    content["outs"][0]["md5"] = digests.dvc_digest(folder)
    tracked.write_text(yaml.safe_dump(content))


@pytest.fixture(autouse=True)
def project(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(template, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setattr(roots, "dvc", track)
    return tmp_path


def opt_out(*entries: tuple[str, str]) -> None:
    rows = [{"kind": kind, "value": value} for kind, value in sorted(entries)]
    records.write_table(records.rows_table(rows, records.OPTOUTS), roots.OPTOUTS)


def host(name: str) -> tuple[str, str]:
    return "host_sha256", digests.sha256_bytes(name.encode())


def rows_left() -> dict[str, list[str]]:
    return {part: pq.read_table(SET / f"{part}.parquet")["name"].to_pylist() for part in PARTS}


def counted() -> dict[tuple[str, str], int]:
    table = records.read_table(SET / sets_purge.OPTED_OUT, records.OPTED_OUT_OF_SET)
    assert table.to_pylist() == sorted(table.to_pylist(), key=lambda row: (row["part"], row["uid"]))
    return {(row["part"], row["uid"]): row["rows"] for row in table.to_pylist()}


def holding(content: bytes) -> list[str]:
    found = [path for path in SET.glob("*.parquet") if path.name != sets_purge.OPTED_OUT]
    return sorted(path.stem for path in found if content in pq.read_table(path)["image"].to_pylist())


def test_the_pictures_of_pairs_go_but_not_those_that_another_pair_has() -> None:
    opt_out(host("a.test"))
    sets_purge.purge()
    assert rows_left() == {
        "train": ["0 of 5", "2 of 1", "3 of 1", "4 of 2", "5 of 6"],
        "seen": ["0 of 6", "2 of 7"],
        "novel": ["0 of 3", "1 of 5"],
    }
    assert counted() == {("train", uid(0)): 1, ("seen", uid(0)): 1}
    opt_out(host("a.test"), host("b.test"))
    sets_purge.purge()
    assert rows_left() == {"train": ["0 of 5", "5 of 6"], "seen": ["0 of 6"], "novel": ["1 of 5"]}
    expected = {("train", uid(0)): 1, ("train", uid(1)): 2, ("train", uid(2)): 1, ("seen", uid(0)): 1}
    assert counted() == expected | {("seen", uid(7)): 1, ("novel", uid(3)): 1}
    assert holding(OURS[0]) == holding(OURS[3]) == []


def test_every_column_and_the_order_of_a_part_stay_and_other_parts_their_bytes() -> None:
    before, tables = contents(SET), {part: pq.ParquetFile(SET / f"{part}.parquet") for part in PARTS}
    opt_out(("url_sha256", digests.sha256_bytes(PAIRS["s1"][0].url.encode())))
    sets_purge.purge()
    for part, numbers in PARTS.items():
        left = pq.ParquetFile(SET / f"{part}.parquet")
        assert left.schema_arrow.equals(tables[part].schema_arrow, check_metadata=True)
        assert left.read().to_pylist() == [row for row in part_rows(numbers).to_pylist() if row["uid"] != uid(0)]
        assert left.metadata.row_group(0).column(0).compression == "ZSTD"
    assert contents(SET)["novel.parquet"] == before["novel.parquet"]
    assert roots.recorded(SET) == digests.dvc_digest(SET)


@pytest.mark.parametrize("kind", ["sha256", "phash", "near phash"])
def test_an_opt_out_of_bytes_or_look_names_what_is_in_no_pair(kind: str) -> None:
    look = phash.perceptual_hash(pictures.read(OURS[5], 10_000).rgb)  # type: ignore[arg-type]
    values = {"sha256": digests.sha256_bytes(OURS[5]), "phash": f"{look:016x}", "near phash": f"{look ^ 0b11:016x}"}
    opt_out((kind.removeprefix("near "), values[kind]))
    sets_purge.purge()
    assert counted() == {("train", uid(5)): 1, ("novel", uid(5)): 1}
    assert holding(OURS[5]) == []


def test_a_look_that_is_farther_than_the_recipe_has_it_names_nothing() -> None:
    look = phash.perceptual_hash(pictures.read(OURS[6], 10_000).rgb)  # type: ignore[arg-type]
    opt_out(("phash", f"{look ^ 0b111:016x}"))
    before = contents(SET)
    sets_purge.purge()
    assert contents(SET) == before


def test_of_what_nobody_named_nothing_changes_and_dvc_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roots, "dvc", lambda *_: pytest.fail("DVC was asked"))
    opt_out(("url_sha256", digests.sha256_bytes(PAIRS["s1"][2].url.encode())))
    before = contents(SET)
    sets_purge.purge()
    assert contents(SET) == before


def test_a_part_that_would_lose_its_last_row_is_told_before_anything_is_changed() -> None:
    opt_out(host("b.test"), ("sha256", digests.sha256_bytes(OURS[5])))
    before = contents(Path("data"))
    with pytest.raises(ValueError, match=r"novel\.parquet: part novel of set emoji would lose its last row"):
        sets_purge.purge()
    assert contents(Path("data")) == before


class Killed(BaseException):
    """The process is gone."""


class Blows:
    """Ends the process before or after its n-th change of a file, and tells how many there were."""

    def __init__(self, patch: pytest.MonkeyPatch, at: int | None, is_before: bool) -> None:
        self.number, self._at, self._is_before = 0, at, is_before
        patch.setattr(os, "replace", self._struck(os.replace))
        patch.setattr(roots, "dvc", self._struck(track))

    def _struck(self, change: Callable[..., Any]) -> Callable[..., None]:
        def made(*words: Any) -> None:
            self.number += 1
            if self.number == self._at and self._is_before:
                raise Killed
            change(*words)
            if self.number == self._at:
                raise Killed

        return made


def purged(at: int | None = None, is_before: bool = True) -> int:
    with pytest.MonkeyPatch.context() as patch:
        blows = Blows(patch, at, is_before)
        with contextlib.suppress(Killed):
            sets_purge.purge()
        return blows.number


def test_killed_at_any_point_the_next_run_ends_the_same(template: Path) -> None:
    opt_out(host("a.test"), host("b.test"))
    optouts = roots.OPTOUTS.read_bytes()
    num_changes = purged()
    whole = contents(Path("data"))
    assert num_changes == len(["opted_out.parquet", *PARTS, "emoji.dvc"])
    for at in range(1, num_changes + 1):
        for is_before in (True, False):
            shutil.rmtree("data")
            shutil.copytree(template / "data", "data")
            roots.OPTOUTS.write_bytes(optouts)
            assert purged(at, is_before) == at
            purged()
            assert contents(Path("data")) == whole
            assert purged() == 0


def test_a_set_that_was_laid_down_anew_is_purged_and_counted_once(template: Path) -> None:
    opt_out(host("a.test"))
    sets_purge.purge()
    before = counted()
    shutil.copy(template / SET / "train.parquet", SET / "train.parquet")
    with pytest.raises(ValueError, match="data/sets/emoji: not what DVC has of it; `dvc checkout data/sets/emoji`"):
        sets_purge.purge()
    track("add", str(SET))
    sets_purge.purge()
    assert counted() == before
    assert holding(OURS[0]) == []


@pytest.mark.parametrize("how", ["no .dvc file", "imported"])
def test_a_set_that_lies_elsewhere_is_told(how: str, caplog: pytest.LogCaptureFixture) -> None:
    tracked = SET.with_name("emoji.dvc")
    if how == "imported":
        tracked.write_text("deps:\n- path: s3://bucket/sets/emoji\n" + tracked.read_text())
    else:
        tracked.unlink()
    opt_out(host("a.test"))
    caplog.set_level("INFO", logger="clipline")
    before = contents(SET)
    sets_purge.purge()
    assert "data/sets/emoji: the evaluation set emoji cannot be purged from here: it lies elsewhere" in caplog.text
    assert contents(SET) == before
    assert sets_purge.elsewhere(Path()) == ["emoji"]


def test_a_set_that_is_in_the_workspace_and_not_listed_is_purged_too() -> None:
    content = yaml.safe_load(Path("params.yaml").read_text())
    Path("params.yaml").write_text(yaml.safe_dump(content | {"sets": []}))
    opt_out(host("a.test"))
    sets_purge.purge()
    assert holding(OURS[0]) == []
    assert sets_purge.names(Path()) == ["emoji"]


def test_what_is_not_there_or_damaged_is_named() -> None:
    opt_out(host("a.test"))
    pq.write_table(pa.table({"uid": ["a"]}), SET / "odd.parquet")
    with pytest.raises(ValueError, match=r"emoji/odd\.parquet: column image is missing"):
        sets_purge.purge()
    (SET / "odd.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(ValueError, match=r"emoji/odd\.parquet: cannot be read as parquet"):
        sets_purge.purge()
    shutil.rmtree(SET)
    with pytest.raises(ValueError, match=r"data/sets/emoji: not in the workspace; `dvc pull data/sets/emoji\.dvc`"):
        sets_purge.purge()


def test_the_command_gives_the_set_to_dvc() -> None:
    opt_out(host("a.test"))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "DVC_NO_ANALYTICS": "1"}
    for told in ("data/sets/emoji: 2 rows taken down", ""):
        command = [sys.executable, "-m", "pipelines.purge", "sets"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert told in done.stderr
        assert ("taken down" in done.stderr) == bool(told)
    assert roots.recorded(SET) == digests.dvc_digest(SET)
    status = subprocess.run([sys.executable, "-m", "dvc", "status", "-q", f"{SET}.dvc"], env=environment)
    assert status.returncode == 0
