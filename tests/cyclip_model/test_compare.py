"""The compare stage: means and spreads by hand, what the page says, escaping, pruning and equal bytes."""

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from cyclip_model import compare
from cyclip_model.compare import CompareConfig
from cyclip_model.evaluate import PREDICTIONS
from cyclip_model.reporting import families, report
from cyclip_model.reporting.resampled import BootstrapConfig
from cyclip_model.reporting.results import csv_text, read
from lineage import digests

SECTION = {"confidence": 0.95, "bootstrap": {"rounds": 200, "seed": 0}, "num_pictures": 2}
UIDS = [f"{number:032x}" for number in range(4)]
HITS = {"clip-0": [1, 1, 0, 0], "clip-1": [1, 1, 0, 0], "cyclip-0": [1, 0, 1, 0], "cyclip-1": [1, 0, 1, 0]}
"""Of the four pictures, by model."""
VALUES = {"clip-0": 0.2, "clip-1": 0.3, "cyclip-0": 0.25, "cyclip-1": 0.25}


def leaf(value: float, **others: Any) -> dict[str, Any]:
    return {"n": 400, "value": value, "chance": 0.01, "majority": None, **others}


def metrics(value: float) -> dict[str, Any]:
    """As evaluate writes it, with every metric at `value`."""
    ks = {f"k_{k}": leaf(value, chance=value / 10) for k in (1, 3, 10)}
    recalls = {f"recall_{k}": leaf(value) for k in (1, 5, 10)}
    tops = {"top_1": leaf(value, majority=0.05), "top_5": leaf(value)}
    found = {
        "naming": {part: {"names": tops} for part in ("seen", "twemoji", "lineart")},
        "category": {part: {"members": tops} for part in ("novel", "novel_twemoji", "novel_lineart")},
        "subcategory": {part: {"members": tops} for part in ("novel", "novel_twemoji", "novel_lineart")},
        "retrieval": {"novel": {"image_to_text": recalls, "text_to_image": recalls}},
        "linear_probe": {"novel": {"all": tops}},
        "consistency": {"novel": {"members": ks, "prompt": ks}, "twemoji": {"names": ks}},
        "geometry": {"novel": {"pairs": {"modality_gap": leaf(-value, chance=None)}}},
    }
    facts = {"parameters": 8_101_145, "samples_seen": 87_040, "pairs_seen": 4070, "snapshots": ["s1", "s2"]}
    return {"model": facts, "sets": {"emoji": found}}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    content = {"objectives": ["clip", "cyclip"], "seeds": [0, 1], "sets": ["emoji"], "compare": SECTION}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))
    for name, value in VALUES.items():
        (tmp_path / "results" / name).mkdir(parents=True)
        (tmp_path / "results" / name / "metrics.json").write_text(json.dumps(metrics(value)))
    (tmp_path / "data/predictions").mkdir(parents=True)
    for name, hits in HITS.items():
        table = pa.Table.from_pylist(predictions(hits), schema=PREDICTIONS)
        pq.write_table(table, tmp_path / f"data/predictions/{name}.parquet")
    folder = tmp_path / "data/benchmarks/emoji/test"
    folder.mkdir(parents=True)
    pq.write_table(
        pa.table({"uid": UIDS, "image": [picture(40 * row) for row in range(4)]}), folder / "twemoji.parquet"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def picture(grey: int) -> bytes:
    target = io.BytesIO()
    Image.fromarray(np.full((200, 100), grey, dtype=np.uint8)).save(target, "PNG")
    return target.getvalue()


def predictions(hits: list[int], label: str = "apple") -> list[dict[str, Any]]:
    asked = {"set": "emoji", "protocol": "naming", "part": "twemoji", "variant": "names"}
    return [
        {**asked, "uid": uid, "label": label, "prediction": label if hit else "<b>pear</b>", "rank": 0 if hit else 7}
        for uid, hit in zip(UIDS, hits, strict=True)
    ]


def run(out: str) -> Path:
    sources = (Path("results"), Path("data/predictions"), Path("data/benchmarks"))
    compare.main(*sources, Path(out), Path("provenance/compare/all.json"))
    return Path(out)


def test_the_report_is_the_same_bytes_twice(project: Path) -> None:
    assert digests.dvc_digest(run("report")) == digests.dvc_digest(run("again"))
    assert sorted(path.name for path in (project / "report").iterdir()) == [
        *("consistency.svg", "differences.csv", "differences.svg", "headline.svg", "index.html", "metrics.csv"),
        *("report.md", "retrieval.svg", "robustness.svg", "shift.svg", "summary.json"),
    ]


def test_results_that_params_do_not_list_are_pruned_and_not_shown(project: Path) -> None:
    first = run("report").joinpath("report.md").read_bytes()
    (project / "results/nclip-0").mkdir()
    (project / "results/nclip-0/metrics.json").write_text(json.dumps(metrics(0.9)))
    assert run("report").joinpath("report.md").read_bytes() == first
    assert not (project / "results/nclip-0").exists()


def test_a_missing_result_is_named(project: Path) -> None:
    (project / "results/cyclip-1/metrics.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"cyclip-1/metrics\.json is missing: `dvc repro evaluate@cyclip-1`"):
        run("report")


def test_mean_and_spread_over_seeds(project: Path) -> None:
    table, rows = read(project / "results", ["clip", "cyclip"], [0, 1])
    cells = table.cells["emoji", "naming", "twemoji", "names", "top_1"]
    assert cells["clip"].mean == pytest.approx(0.25)
    assert cells["clip"].spread == pytest.approx(0.0707107, rel=1e-5)
    assert cells["cyclip"].spread == 0.0
    assert cells["clip"].majority == 0.05
    assert table.cells["emoji", "consistency", "novel", "prompt", "k_3"]["clip"].chance == pytest.approx(0.025)
    assert len(rows) == 4 * len(table.cells)
    assert len(csv_text(rows).splitlines()) == len(rows) + 1


@pytest.mark.usefixtures("project")
def test_the_page_shows_headline_with_levels() -> None:
    page = run("report").joinpath("index.html").read_text().replace("\u00a0", " ")
    assert "25.0 ± 7.1" in page
    assert "25.0 ± 0.0" in page
    assert "87,040" in page
    assert "s1, s2" in page
    assert "-0.250 ± 0.071" in page, "geometry is no percentage"
    assert "± 4.2" in page, "1.96 sqrt(.25 .75 / 400)"
    assert page.count("<svg") == 6


def test_the_page_needs_nothing_else_and_carries_no_date_or_path(project: Path) -> None:
    out = run("report")
    page = out.joinpath("index.html").read_text()
    assert "<script" not in page
    assert not re.findall(r'(?:src|href)="(?!#|data:image/png;base64,)', page.replace("xlink:href", "href"))
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    targets = re.findall(r'xlink:href="#([^"]+)"', page) + re.findall(r"url\(#([^)]+)\)", page)
    assert set(targets) <= set(ids)
    for path in out.iterdir():
        text = path.read_text()
        assert str(project) not in text
        assert not re.search(r"\b20\d\d-\d\d-\d\d", text), path


def test_hostile_names_are_escaped(project: Path) -> None:
    content = metrics(0.5)
    content["sets"] = {"<script>alert(1)</script>|x": content["sets"]["emoji"]}
    content["model"]["snapshots"] = ["<img src=x>", "a|b"]
    content["absent"] = {"<img src=y>": {"why": "<img src=z>", "how": "ask|them"}}
    for name in VALUES:
        (project / "results" / name / "metrics.json").write_text(json.dumps(content))
    out = run("report")
    page, text = out.joinpath("index.html").read_text(), out.joinpath("report.md").read_text()
    assert "<script" not in page
    assert not re.search(r"<img(?! src=\"data:image/png;base64,)", page)
    assert "<b>pear" not in page
    assert "&lt;b&gt;pear&lt;/b&gt;" in page, "what a model said of a picture"
    assert all(f"&lt;img src={letter}&gt;" in page for letter in "xyz")
    assert "<img" not in text.replace("\\<", "")
    assert "a\\|b" in text


@pytest.mark.usefixtures("project")
def test_markdown_tables_are_whole() -> None:
    lines = run("report").joinpath("report.md").read_text().splitlines()
    for number, line in enumerate(lines):
        if line.startswith("|") and lines[number - 1].startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", line)) == len(re.findall(r"(?<!\\)\|", lines[number - 1])), line
    assert any(
        line.startswith("| emoji | Naming, names, top-1 | known emoji, new artist | 25.0 ± 7.1 |") for line in lines
    )


@pytest.mark.usefixtures("project")
def test_every_value_is_in_the_csv() -> None:
    rows = list(csv.DictReader(run("report").joinpath("metrics.csv").read_text().splitlines()))
    wanted = {"set": "emoji", "protocol": "naming", "part": "twemoji", "metric": "top_1", "objective": "clip"}
    found = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
    assert [(row["seed"], row["value"], row["chance"]) for row in found] == [("0", "0.2", "0.01"), ("1", "0.3", "0.01")]


def test_one_seed_shows_no_spread(project: Path) -> None:
    table, _ = read(project / "results", ["clip"], [0])
    shown = report.content(table, 0.95)
    assert shown["headline"][0]["values"] == ["20.0"]


def test_what_was_not_measured_is_a_dash(project: Path) -> None:
    content = metrics(0.5)
    del content["sets"]["emoji"]["naming"]["twemoji"]
    for seed in (0, 1):
        (project / f"results/cyclip-{seed}/metrics.json").write_text(json.dumps(content))
    out = run("report")
    assert (
        "| emoji | Naming, names, top-1 | known emoji, new artist | 25.0 ± 7.1 | – |" in (out / "report.md").read_text()
    )


def test_what_training_measured_is_shown_after_the_tests(project: Path) -> None:
    for name, value in VALUES.items():
        content, none = metrics(value), {"n": None, "chance": None, "majority": None}
        leaves = {"loss": {**none, "value": 2.5 + value}, "recall_10": {**none, "value": value}}
        content["sets"]["a_first"] = {"history": {"val": {"last_epoch": leaves}}}
        (project / "results" / name / "metrics.json").write_text(json.dumps(content))
    out = run("report")
    lines = (out / "report.md").read_text().splitlines()
    assert "| a\\_first | val split | last epoch | loss | 2.750 ± 0.071 | 2.750 ± 0.000 |  |  |  |  |" in lines
    assert "| a\\_first | val split | last epoch | R@10 | 25.0 ± 7.1 | 25.0 ± 0.0 |  |  |  |  |" in lines
    assert lines.index("### emoji: Naming") < lines.index("### a\\_first: Validation")
    assert "a_first,history,val,last_epoch,loss,clip,0,,2.7,,," in (out / "metrics.csv").read_text().splitlines()


def test_a_missing_prediction_is_named(project: Path) -> None:
    (project / "data/predictions/cyclip-1.parquet").unlink()
    with pytest.raises(FileNotFoundError, match=r"cyclip-1\.parquet is missing: `dvc repro evaluate@cyclip-1`"):
        run("report")


@pytest.mark.usefixtures("project")
def test_the_page_shows_which_pictures_part_two_models() -> None:
    page = run("report").joinpath("index.html").read_text()
    for title, number in (
        ("missed by every", 3),
        ("right by every", 0),
        ("cyclip right, clip", 2),
        ("clip right, cy", 1),
    ):
        strip = page.split(f'<p class="strip">{title}')[1].split("</ul>")[0]
        assert re.findall("<code>([0-9a-f]+)</code>", strip) == [UIDS[number]], title


def test_a_protocol_that_no_family_knows_is_shown(project: Path) -> None:
    for name, value in VALUES.items():
        content = metrics(value)
        content["sets"]["emoji"]["smell"] = {"test": {"raw": {"top_1": leaf(value)}}}
        (project / "results" / name / "metrics.json").write_text(json.dumps(content))
    text = run("report").joinpath("report.md").read_text()
    assert "| emoji | test | raw | top-1 | 25.0 ± 7.1 | 25.0 ± 0.0 | 1.0 |  | 400 | ± 4.2 |" in text


def test_absent_sets_are_listed_and_those_present_elsewhere_are_not(project: Path) -> None:
    content = metrics(0.2)
    content["absent"] = {name: {"why": "not here", "how": "fetch it"} for name in ("kitti", "emoji")}
    (project / "results/clip-0/metrics.json").write_text(json.dumps(content))
    lines = run("report").joinpath("report.md").read_text().splitlines()
    assert lines[lines.index("## Sets that are not here") + 4 :][:2] == ["| kitti | not here | fetch it |", ""]


@pytest.mark.usefixtures("project")
def test_the_summary_is_flat_and_numeric() -> None:
    summary = json.loads((run("report") / "summary.json").read_text())
    assert summary["emoji/naming/twemoji/names/top_1/clip"] == 0.25
    assert all(isinstance(value, float) for value in summary.values())
    assert len(summary) == 2 * len(families.HEADLINE[:10])


def test_confidence_is_checked() -> None:
    with pytest.raises(ValueError, match="confidence"):
        CompareConfig(confidence=95.0, bootstrap=BootstrapConfig(rounds=1, seed=0), num_pictures=0)
    with pytest.raises(ValueError, match="num_pictures"):
        CompareConfig(confidence=0.9, bootstrap=BootstrapConfig(rounds=1, seed=0), num_pictures=-1)
    with pytest.raises(ValueError, match="rounds"):
        BootstrapConfig(rounds=0, seed=0)
