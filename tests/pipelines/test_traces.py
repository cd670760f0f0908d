"""What was taken down is found in whatever form a file has it; what stands elsewhere by right is not looked for."""

import gzip
import html
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from lineage import files, records
from pipelines import demo, traces
from tests.builders import PARAMS, RawPair, make_picture, write_raw
from tests.pipelines.source_builder import write_source

GONE = [
    RawPair(url="http://a.test/1.png?x=1&y='2'", caption='a "rare" <b>caption</b> ☃', picture=make_picture(1)),
    RawPair(url="http://a.test/404.png", caption="nothing was there"),
    RawPair(url="http://a.test/copy.png", caption="bytes that stay, too", picture=make_picture(5)),
    RawPair(url="http://a.test/short", caption="cat", picture=make_picture(2)),
    RawPair(url="http://a.test/said", caption="a caption that stays", picture=make_picture(3, kind="JPEG")),
]
STAY = [
    RawPair(url="http://b.test/5.png", caption="this is a caption that stays", picture=make_picture(5)),
    RawPair(url="http://b.test/6.png", caption="another", picture=make_picture(6)),
]


def write_project(root: Path, pairs: list[RawPair], taken_down: list[RawPair], rejects: list[str]) -> Path:
    files.write_json(root / "params.yaml", PARAMS | {"snapshots": ["s1"]})
    write_source(root / "data/source/s1", pairs, [pair.uid for pair in taken_down])
    rows = [{"file": "a.csv", "row": 1, "reason": "no_caption", "url": url, "caption": ""} for url in rejects]
    records.write_table(pa.Table.from_pylist(rows, records.REJECTS), root / "data/source/s1/rejects.parquet")
    kept = [RawPair(url=p.url, caption=p.caption, picture=None if p in taken_down else p.picture) for p in pairs]
    write_raw(root / "data/raw/s1", sorted(kept, key=lambda pair: pair.uid))
    return root


@pytest.fixture(scope="module")
def looked_for(tmp_path_factory: pytest.TempPathFactory) -> traces.Traces:
    root = tmp_path_factory.mktemp("traces")
    before = write_project(root / "before", [*GONE, *STAY], [], ["http://a.test/rejected", "http://b.test/rejected"])
    after = write_project(root / "after", [*GONE, *STAY], GONE, ["http://b.test/rejected"])
    return traces.between(before, after)


def test_looked_for_is_what_nothing_else_has(looked_for: traces.Traces) -> None:
    assert looked_for.urls == sorted([*(pair.url for pair in GONE), "http://a.test/rejected"])
    assert looked_for.captions == sorted(pair.caption for pair in GONE[:3])
    assert {picture.num_bytes for picture in looked_for.pictures} == {
        len(pair.picture or b"") for pair in (GONE[0], GONE[3], GONE[4])
    }
    assert (
        str(looked_for)
        == "6 URLs, 3 captions and 3 pictures (3 texts stand elsewhere by right, 0 pictures in data/sets)"
    )


def parquet(content: str) -> Callable[[Path], None]:
    table = pa.table({"n": [1, 2], "text": pa.array([None, content]).dictionary_encode()})
    return lambda path: pq.write_table(table, path)


URL, CAPTION, PICTURE = GONE[0].url, GONE[0].caption, GONE[0].picture or b""
FORMS: dict[str, Callable[[Path], object]] = {
    "plain.txt": lambda path: path.write_text(f"see {CAPTION}."),
    "ascii.json": lambda path: path.write_text(json.dumps({"x": CAPTION})),
    "utf8.json": lambda path: path.write_text(json.dumps({"x": CAPTION}, ensure_ascii=False)),
    "page.html": lambda path: path.write_text(f"<p>{html.escape(CAPTION)}</p>"),
    "rows.csv": lambda path: path.write_text('1,"a ""rare"" <b>caption</b> ☃"\n'),
    "rows.csv.gz": lambda path: path.write_bytes(gzip.compress(b"x" * 100) + gzip.compress(CAPTION.encode())),
    "rows.csv.zst": lambda path: path.write_bytes(zstandard.ZstdCompressor().compress(CAPTION.encode())),
    "rows.parquet": parquet(CAPTION),
    "nested.parquet": lambda path: pq.write_table(pa.table({"list": [[CAPTION]]}), path),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_caption_is_found_in_every_form(name: str, tmp_path: Path, looked_for: traces.Traces) -> None:
    FORMS[name](tmp_path / name)
    (tmp_path / "other.txt").write_text(STAY[0].caption)
    assert list(traces.search(looked_for, [tmp_path])) == [(tmp_path / name, "captions that were taken down")]


@pytest.mark.parametrize("kind", ["tar", "gz", "store"])
def test_a_picture_is_found_whole(kind: str, tmp_path: Path, looked_for: traces.Traces) -> None:
    path = tmp_path / f"a.{kind}"
    content = make_picture(8) + PICTURE + b"more"
    path.write_bytes(gzip.compress(content) if kind == "gz" else content)
    assert list(traces.search(looked_for, [tmp_path])) == [(path, "pictures that were taken down")]


def test_a_picture_that_shares_some_bytes_is_another(tmp_path: Path, looked_for: traces.Traces) -> None:
    (tmp_path / "a.png").write_bytes(b"x" + PICTURE[1:])
    (tmp_path / "end.png").write_bytes(PICTURE[-60:])
    (tmp_path / "copy.png").write_bytes(GONE[2].picture or b"")
    assert list(traces.search(looked_for, [tmp_path])) == []


def test_across_the_pieces_of_an_unpacked_file_it_is_found(
    tmp_path: Path, looked_for: traces.Traces, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traces, "_PIECE_BYTES", 500)
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"x" * 490 + URL.encode() + b"x" * 300 + PICTURE + b"x" * 700))
    ((path, told),) = traces.search(looked_for, [tmp_path])
    assert path.name == "a.gz"
    assert "URL" in told
    assert "picture" in told


def test_what_is_left_out_is_not_looked_at(tmp_path: Path, looked_for: traces.Traces) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site/a.txt").write_text(URL)
    assert len(list(traces.search(looked_for, [tmp_path]))) == 1
    assert list(traces.search(looked_for, [tmp_path], [tmp_path / "site"])) == []


def test_the_code_and_the_evaluation_sets_have_their_words_by_right(tmp_path: Path) -> None:
    before = write_project(tmp_path / "before", GONE, [], [])
    after = write_project(tmp_path / "after", GONE, GONE, [])
    for name, pair in (("data/sets/emoji/rows.csv", GONE[0]), ("pipelines/a.py", GONE[1])):
        (after / name).parent.mkdir(parents=True)
        (after / name).write_text(f"words {pair.caption} words")
    (after / "data/sets/emoji/pictures.bin").write_bytes(b"x" + (GONE[3].picture or b"") + b"x")
    found = traces.between(before, after, ["emoji"])
    assert found.num_in_sets == 1
    assert {picture.num_bytes for picture in found.pictures} == {
        len(pair.picture or b"") for pair in (GONE[0], GONE[2], GONE[4])
    }
    assert GONE[0].caption not in found.captions
    assert GONE[1].caption not in found.captions
    assert GONE[2].caption in found.captions


def test_in_a_set_that_was_purged_a_picture_is_found(tmp_path: Path) -> None:
    before = write_project(tmp_path / "before", GONE, [], [])
    after = write_project(tmp_path / "after", GONE, GONE, [])
    for place in ("data/sets/emoji", "data/benchmarks/emoji/test"):
        (after / place).mkdir(parents=True)
        pq.write_table(pa.table({"image": [STAY[0].picture, GONE[3].picture]}), after / place / "seen.parquet")
    found = traces.between(before, after, ["another"])
    assert found.num_in_sets == 0
    told = dict(traces.search(found, traces.workspace(after)[0]))
    assert {path.relative_to(after).parts[1] for path in told} == {"sets", "benchmarks"}


def test_where_nothing_was_taken_down_nothing_is_looked_for(tmp_path: Path) -> None:
    before = write_project(tmp_path / "before", GONE, [], [])
    found = traces.between(before, before)
    assert (found.urls, found.captions, found.pictures) == ([], [], [])
    assert list(traces.search(found, [tmp_path])) == []


@pytest.mark.parametrize(("stamp", "left_out"), [("demo.json", "data/demo"), ("other.json", "data/demo/site")])
def test_the_demo_as_it_was_laid_down_is_left_out(stamp: str, left_out: str, tmp_path: Path) -> None:
    content = PARAMS | {"download": {"demo_site": "data/demo/site"}}
    files.write_json(tmp_path / "params.yaml", content)
    files.write_json(tmp_path / "data/demo" / stamp, {})
    folders, found = traces.workspace(tmp_path)
    assert tmp_path / "data" in folders
    assert found == [tmp_path / left_out]
    assert demo.STAMP == "demo.json"
