"""Each well-known list, as a tiny file of its published form, through to the source schema."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lineage import records
from pipelines import source
from pipelines.lists import descriptions, recognition
from pipelines.lists.presets import PRESETS

CONFIG = source.SourceConfig(max_url_chars=200, num_partitions=2)
SHA = "695d74e8c323a977f11e958f9a185b8cbd454cd29197924b97f6618079f48159"


def rows_of(path: Path, preset: str, **options: Any) -> list[dict[str, Any]]:
    """Returns what a list brings, by URL and caption: nothing but what is not null, and the scores as numbers."""
    descriptions.save(recognition.describe(path, options.pop("mapping", {}), preset=preset, **options), path.parent)
    source.convert(path.parent, path.parent / "made", CONFIG, scratch=path.parent / "aside")
    rows = records.read_table(path.parent / "made" / "source.parquet", records.SOURCE).to_pylist()
    derived = ("uid", "url_sha256", "host", "host_sha256")
    brought = [{key: value for key, value in row.items() if value is not None and key not in derived} for row in rows]
    return sorted(
        ({**row, "given": json.loads(row["given"])} if "given" in row else row for row in brought),
        key=lambda row: (row["url"], row["caption"]),
    )


@pytest.mark.parametrize(
    ("preset", "text"),
    [
        ("cc3m", "a very typical bus station\thttp://lh6.test/1.jpg\nsierra looked stunning\thttp://www.test/2.jpg\n"),
        ("cc3m", "caption\turl\na very typical bus station\thttp://lh6.test/1.jpg\n"
                 "sierra looked stunning\thttp://www.test/2.jpg\n"),
        ("cc12m", "http://lh6.test/1.jpg\ta very typical bus station\nhttp://www.test/2.jpg\tsierra looked stunning\n"),
    ],
)  # fmt: skip
def test_conceptual_captions(tmp_path: Path, preset: str, text: str) -> None:
    (tmp_path / "list.tsv").write_text(text)
    assert rows_of(tmp_path / "list.tsv", preset) == [
        {"url": "http://lh6.test/1.jpg", "caption": "a very typical bus station"},
        {"url": "http://www.test/2.jpg", "caption": "sierra looked stunning"},
    ]


def test_cc12m_takes_a_caption_that_is_a_url(tmp_path: Path) -> None:
    (tmp_path / "list.tsv").write_text("http://a.test/1\thttp://b.test/2\n")
    with pytest.raises(ValueError, match="no url column"):
        recognition.describe(tmp_path / "list.tsv", {})
    assert rows_of(tmp_path / "list.tsv", "cc12m") == [{"url": "http://a.test/1", "caption": "http://b.test/2"}]


def test_laion400m(tmp_path: Path) -> None:
    table = {
        "SAMPLE_ID": [1581282014547, 7],
        "URL": ["http://a.test/1", "http://a.test/2"],
        "TEXT": ["a cat", "a dog"],
        "HEIGHT": pa.array([600, None], pa.int32()),
        "WIDTH": pa.array([800, None], pa.int32()),
        "LICENSE": ["creativecommons.org/licenses/by-nc-sa/3.0/", "?"],
        "NSFW": ["UNSURE", None],
        "similarity": pa.array([0.3221, 0.3004], pa.float32()),
    }
    pq.write_table(pa.table(table), tmp_path / "part-0.snappy.parquet")
    assert rows_of(tmp_path / "part-0.snappy.parquet", "laion400m") == [
        {
            "url": "http://a.test/1",
            "caption": "a cat",
            "license": "creativecommons.org/licenses/by-nc-sa/3.0/",
            "list_uid": "1581282014547",
            "given": {"height": 600, "nsfw": 1, "similarity": 0.3221, "width": 800},
        },
        {
            "url": "http://a.test/2",
            "caption": "a dog",
            "license": "?",
            "list_uid": "7",
            "given": {"similarity": 0.3004},
        },
    ]


def test_laion2b(tmp_path: Path) -> None:
    table = {
        "URL": ["http://a.test/1"],
        "TEXT": ["a cat"],
        "similarity": [0.2801],
        "hash": [-1453870654887],
        "punsafe": pa.array([1.1920929e-07], pa.float32()),
        "pwatermark": pa.array([0.8], pa.float32()),
        "AESTHETIC_SCORE": [6.5],
    }
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    assert rows_of(tmp_path / "a.parquet", "laion2b") == [
        {
            "url": "http://a.test/1",
            "caption": "a cat",
            "list_uid": "-1453870654887",
            "given": {"aesthetic": 6.5, "punsafe": 1.1920929e-07, "pwatermark": 0.8, "similarity": 0.2801},
        }
    ]


def test_coyo_does_not_bring_our_perceptual_hash(tmp_path: Path) -> None:
    table = {
        "id": [841814333321],
        "url": ["http://a.test/1"],
        "text": ["a cat"],
        "width": [1000],
        "height": [988],
        "image_phash": ["c9b6a7d8469c1959"],
        "num_faces": [2],
        "clip_similarity_vitb32": pa.array([0.291260], pa.float32()),
        "nsfw_score_gantman": pa.array([0.0101354], pa.float32()),
        "watermark_score": pa.array([0.0191545], pa.float32()),
        "aesthetic_score_laion_v2": pa.array([7.1703], pa.float32()),
    }
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    (row,) = rows_of(tmp_path / "a.parquet", "coyo")
    scores = {
        "aesthetic_score_laion_v2": 7.1703,
        "clip_similarity_vitb32": 0.29126,
        "faces": 2,
        "height": 988,
        "nsfw_score_gantman": 0.0101354,
        "watermark_score": 0.0191545,
        "width": 1000,
    }
    assert row == {"url": "http://a.test/1", "caption": "a cat", "list_uid": "841814333321", "given": scores}
    mapping = {"expected_phash": "image_phash"}  # only where the user says that it is ours
    assert rows_of(tmp_path / "a.parquet", "coyo", mapping=mapping)[0]["expected_phash"] == "c9b6a7d8469c1959"


def test_datacomp(tmp_path: Path) -> None:
    boxes = [[0.37, 0.32, 0.49, 0.46], [0.1, 0.1, 0.2, 0.2]]
    table = {
        "uid": ["335db346a49045476677662a0067ce68", "1e42519d02455c06411394e19509547a"],
        "url": ["http://a.test/1", "http://a.test/2"],
        "text": ["untitled image", "Case Cover"],
        "original_width": [980, 82],
        "original_height": [405, 81],
        "clip_b32_similarity_score": pa.array([0.233643, 0.22168], pa.float32()),
        "clip_l14_similarity_score": pa.array([0.132446, float("nan")], pa.float32()),
        "face_bboxes": [boxes, []],
        "sha256": [SHA.upper(), None],
    }
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    scores = ("clip_b32_similarity_score", "clip_l14_similarity_score")
    assert rows_of(tmp_path / "a.parquet", "datacomp") == [
        {
            "url": "http://a.test/1",
            "caption": "untitled image",
            "list_uid": "335db346a49045476677662a0067ce68",
            "expected_sha256": SHA,
            "given": {scores[0]: 0.233643, scores[1]: 0.132446, "faces": 2, "height": 405, "width": 980},
        },
        {
            "url": "http://a.test/2",
            "caption": "Case Cover",
            "list_uid": "1e42519d02455c06411394e19509547a",
            "given": {scores[0]: 0.22168, "faces": 0, "height": 81, "width": 82},
        },
    ]


COCO: dict[str, Any] = {
    "info": {"year": 2017},
    "licenses": [{"url": "http://cc.test/by-nc-sa", "id": 1, "name": "x"}],
    "images": [
        {"id": 9, "coco_url": "http://images.test/9.jpg", "license": 1, "width": 640, "height": 480},
        {"id": 5, "coco_url": "http://images.test/5.jpg", "flickr_url": "http://flickr.test/5.jpg"},
        {"id": 7, "coco_url": "http://images.test/7.jpg"},
        {"id": [1]},
        3,
    ],
    "annotations": [
        {"image_id": 9, "id": 48, "caption": "a giraffe"},
        {"image_id": 9, "id": 51, "caption": "a tall giraffe"},
        {"image_id": 5, "id": 52, "caption": "a train"},
        {"image_id": 5, "id": 53, "caption": "a train"},
        {"image_id": 4, "id": 54, "caption": "nowhere"},
        {"image_id": {}, "id": 55, "caption": "nowhere"},
        "x",
    ],
}


def test_coco_has_several_captions_a_picture(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(COCO))
    giraffe = {
        "url": "http://images.test/9.jpg",
        "license": "http://cc.test/by-nc-sa",
        "given": {"height": 480, "width": 640},
    }
    train = {"url": "http://images.test/5.jpg", "caption": "a train", "list_uid": "52"}
    assert rows_of(tmp_path / "a.json", "coco") == [
        train,
        {**giraffe, "caption": "a giraffe", "list_uid": "48"},
        {**giraffe, "caption": "a tall giraffe", "list_uid": "51"},
    ]
    rejects = records.read_table(tmp_path / "made" / "rejects.parquet", records.REJECTS).to_pylist()
    assert [(row["row"], row["reason"]) for row in rejects] == [(5, "no_url"), (6, "no_url"), (7, "unparsable_row")]
    mapping = {"url": "flickr_url"}
    assert [row["url"] for row in rows_of(tmp_path / "a.json", "coco", mapping=mapping)] == ["http://flickr.test/5.jpg"]


def test_coco_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"images": []}')
    descriptions.save(recognition.describe(tmp_path / "a.json", {}, preset="coco"), tmp_path)
    with pytest.raises(ValueError, match=r"a\.json: cannot be read after row 0 \(not a COCO captions file: no lists"):
        source.convert(tmp_path, tmp_path / "made", CONFIG, scratch=tmp_path / "aside")


def test_a_preset_and_its_list_must_fit(tmp_path: Path) -> None:
    pq.write_table(pa.table({"URL": ["http://a.test/1"], "words": ["x"], "P": [0.5]}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"--preset laion: unknown; presets: cc3m, cc12m, laion400m, laion2b, coyo, "):
        recognition.describe(tmp_path / "a.parquet", {}, preset="laion")
    with pytest.raises(ValueError, match=r"a\.parquet: is parquet; a cc3m list is tsv"):
        recognition.describe(tmp_path / "a.parquet", {}, preset="cc3m")
    with pytest.raises(ValueError, match=r"a\.parquet: no caption column; columns: URL, words, P; name one with --map"):
        recognition.describe(tmp_path / "a.parquet", {}, preset="laion2b")
    described = recognition.describe(
        tmp_path / "a.parquet", {"caption": "words"}, preset="laion2b", scores={"unsafe": "P"}
    )
    assert (described.columns, described.scores) == ({"url": "URL", "caption": "words"}, {"unsafe": "P"})
    with pytest.raises(ValueError, match=r"--score unsafe=Q: no such column; columns: URL, words, P"):
        recognition.describe(tmp_path / "a.parquet", {"caption": "words"}, scores={"unsafe": "Q"})
    with pytest.raises(ValueError, match=r"--score My score=P: score name 'My score' is not allowed"):
        recognition.describe(tmp_path / "a.parquet", {"caption": "words"}, scores={"My score": "P"})


def test_every_preset_names_our_fields() -> None:
    for name, preset in PRESETS.items():
        assert set(descriptions.REQUIRED) <= set(preset.columns) <= set(descriptions.FIELDS), name
        assert "expected_phash" not in preset.columns, name
