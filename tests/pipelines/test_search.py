"""clip-retrieval's real `back` on a loopback port: what is in an index of ours is found by text and by picture."""

import base64
import contextlib
import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lineage import records
from pipelines import index, inference, search
from tests.builders import RawPair, write_kept
from tests.pipelines.models import make_drawing, write_model

CAPTIONS = "apple|seven swans swimming|OLD tin robot|12:30 on a station clock|größe|a b c d e f g|!!!".split("|")
"""As unlike as can be: to a text tower with random weights most captions are nearly the same."""
PAIRS = [
    RawPair(url=f"https://a.test/{n}", caption=caption, picture=make_drawing(n)) for n, caption in enumerate(CAPTIONS)
]


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """An index of a few pairs by a ResNet scorer, under data/index; returns the project's folder."""
    scorer = write_model(tmp_path / "models/scorer")
    pairs = sorted(PAIRS, key=lambda pair: pair.uid)
    samples = [inference.Sample(pair.uid, pair.picture or b"", pair.caption.encode()) for pair in pairs]
    found = inference.embed(samples, inference.settings(scorer, 4, 1, "cpu"), tmp_path / "work", with_text=True)
    embeddings, vectors = tmp_path / "data/embeddings/s1", tmp_path / "vectors"
    rows = [{"uid": uid, "clip_score": 0.5, "row": row} for row, uid in enumerate(found.uids)]
    records.write_table(records.rows_table(rows, records.EMBEDDINGS), embeddings / "00000.parquet")
    inference.save_vectors(found.image_ND, embeddings / "00000.image.npy")
    inference.save_vectors(found.text_ND, embeddings / "00000.text.npy")
    captions = [{"uid": pair.uid, "caption": pair.caption} for pair in pairs]
    records.write_table(records.rows_table(captions, records.SIGNALS), tmp_path / "data/signals/s1/00000.parquet")
    write_kept(tmp_path / "kept.parquet", {pair.uid: "train" for pair in pairs})
    kept = records.read_table(tmp_path / "kept.parquet", records.KEPT)
    (table,) = index.collect(kept, tmp_path / "data/signals/s1", embeddings, vectors)
    flat = index.IndexConfig(kind="flat", num_lists=1, num_probes=1)
    for side in index.SIDES:
        index.build(vectors / side, tmp_path / f"data/index/{side}.index", flat, table.num_rows)
    records.write_table(table, tmp_path / "data/index/metadata/metadata_0.parquet")
    return tmp_path


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[int]:
    """Runs the server in a process of its own; yields its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    command = [sys.executable, "-m", "pipelines.search", "data/index", "models/scorer", "--port", str(port)]
    environment = {"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": "/usr/bin:/bin", "HOME": str(folder)}
    log = folder / "server.log"
    with log.open("wb") as output:
        server = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline:
            assert server.poll() is None, log.read_text()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.2)
        yield port
    finally:
        server.kill()
        server.wait()


def ask(port: int, **query: Any) -> list[dict[str, Any]]:
    body = json.dumps({"indice_name": "clipline", "num_images": 3, **query}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/knn-service", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310  a loopback address
        found: list[dict[str, Any]] = json.load(answer)
    return found


def picture(pair: RawPair) -> str:
    return base64.b64encode(pair.picture or b"").decode()


@pytest.mark.slow
def test_the_top_hit_of_what_is_in_the_index_is_itself(made: Path) -> None:
    with serving(made) as port:
        for pair in PAIRS[:3]:
            for query in (
                {"text": pair.caption, "modality": "text"},
                {"image": picture(pair), "modality": "image"},
            ):
                hits = ask(port, **query)
                assert (hits[0]["uid"], hits[0]["caption"], hits[0]["snapshot"]) == (pair.uid, pair.caption, "s1")
                assert hits[0]["similarity"] == pytest.approx(1, abs=2e-3)
                assert [hit["similarity"] for hit in hits] == sorted((hit["similarity"] for hit in hits), reverse=True)
        # more than the index holds: all of it, and no error
        assert len(ask(port, text="a cat", modality="image", num_images=1000)) == len(PAIRS)
        # it fetches nothing
        with pytest.raises(urllib.error.HTTPError, match="400") as refused:
            ask(port, image_url="http://127.0.0.1:1/x.png", modality="image")
        with refused.value as answer:
            assert b"this server fetches nothing; send the picture itself" in answer.read()


def test_a_folder_that_is_no_index_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"image.index: no such file; `dvc repro index` makes the index"):
        search.main(tmp_path, tmp_path)
