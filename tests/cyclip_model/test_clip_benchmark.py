"""CLIP_benchmark itself evaluates one of our checkpoints on a set in its own layout, and finds our numbers."""

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from cyclip_model import benchmarks, evaluate
from cyclip_model.model import towers
from lineage import files
from tests.cyclip_model import kinds_of_sets, small_set

REGISTERED = (
    "import open_clip, sys; open_clip.add_model_config(sys.argv.pop(1)); "
    "from clip_benchmark.cli import main; sys.exit(main())"
)
"""CLIP_benchmark's command line in a process that knows our architecture."""
TEMPLATES = ["{c}", "a drawing of a {c}."]
SHARDS = 2


def write_split(folder: Path, samples: list[dict[str, bytes]]) -> None:
    """SHARDS tars and nshards.txt, as CLIP_benchmark's exporter lays them out."""
    folder.mkdir(parents=True)
    (folder / "nshards.txt").write_text(f"{SHARDS}")
    for shard in range(SHARDS):
        with tarfile.open(folder / f"{shard}.tar", "w") as tar:
            for number in range(shard, len(samples), SHARDS):
                for extension, content in samples[number].items():
                    member = tarfile.TarInfo(f"s{number:07d}.{extension}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))


def samples(vendors: tuple[str, ...], text: Any) -> list[dict[str, bytes]]:
    """A sample for every class and vendor; `text` says what goes with a class's number."""
    return [
        {"png": kinds_of_sets.picture(name, vendor)["image"], **text(number)}
        for vendor in vendors
        for number, name in enumerate(kinds_of_sets.CLASSES)
    ]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with two sets in CLIP_benchmark's layout, stored by stage benchmarks, and a model."""
    monkeypatch.chdir(tmp_path)
    small_set.write_params(tmp_path, sets=["toys", "captioned_toys"])
    toys, captioned = tmp_path / "data/sets/toys", tmp_path / "data/sets/captioned_toys"
    write_split(toys / "test", samples(("noto", "fluent", "line"), lambda number: {"cls": str(number).encode()}))
    (toys / "classnames.txt").write_text("\n".join(kinds_of_sets.CLASSES) + "\n")
    (toys / "zeroshot_classification_templates.txt").write_text("\n".join(TEMPLATES) + "\n")
    captions = [f"{name}\nseen: {name} {number}\nnumber {number}" for number, name in enumerate(kinds_of_sets.CLASSES)]
    write_split(captioned / "test", samples(("twemoji",), lambda number: {"txt": captions[number].encode()}))
    (captioned / "dataset_type.txt").write_text("retrieval")
    for folder in (toys, captioned):
        files.write_json(folder / "set.json", {"name": folder.name, "family": "clip_benchmark", "sources": []})
        out, provenance = Path("data/benchmarks") / folder.name, Path(f"provenance/benchmarks/{folder.name}.json")
        benchmarks.main(Path("data/sets") / folder.name, out, provenance)
    small_set.write_model(tmp_path / "models/clip-0")
    return tmp_path


def theirs(project: Path, name: str, task: str) -> dict[str, float]:
    """CLIP_benchmark's metrics for the model on one set."""
    out = project / f"{name}.json"
    command = [sys.executable, "-W", "ignore", "-c", REGISTERED, "models/clip-0/emoji-tiny.json", "eval"]
    command += ["--dataset", f"wds/{name}", "--dataset_root", f"data/sets/{name}", "--task", task]
    command += ["--model", "emoji-tiny", "--pretrained", f"models/clip-0/{towers.WEIGHTS}", "--output", str(out)]
    command += ["--no_amp", "--num_workers", "0", "--batch_size", "16", "--recall_k", "1", "5"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, float] = json.loads(out.read_text())["metrics"]
    return found


@pytest.mark.slow
def test_zero_shot_and_retrieval_are_clip_benchmarks_own(project: Path) -> None:
    evaluate.main(
        Path("models/clip-0"), Path("data/benchmarks"), Path("results/clip-0"), Path("p.parquet"), Path("clip-0.json")
    )
    sets = json.loads(Path("results/clip-0/metrics.json").read_text())["sets"]
    zero_shot = theirs(project, "toys", "zeroshot_classification")
    ours = sets["toys"]["zero_shot"]["test"]["prompt"]
    assert ours["top_1"]["n"] == 18
    assert ours["top_1"]["value"] == pytest.approx(zero_shot["acc1"], abs=1e-6)
    assert ours["top_5"]["value"] == pytest.approx(zero_shot["acc5"], abs=1e-6)
    assert ours["balanced_accuracy"]["value"] == pytest.approx(zero_shot["mean_per_class_recall"], abs=1e-6)
    recalls = theirs(project, "captioned_toys", "zeroshot_retrieval")
    found = sets["captioned_toys"]["retrieval"]["test"]
    for k in (1, 5):
        for way, spelled in (("text_to_image", "image_retrieval"), ("image_to_text", "text_retrieval")):
            said = found[way][f"recall_{k}"]["value"]
            assert said == pytest.approx(recalls[f"{spelled}_recall@{k}"], abs=1e-6), (way, k)
    assert 0 < found["text_to_image"]["recall_5"]["value"] <= 1
