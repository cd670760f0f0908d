"""What a list shows at its top is looked at before it becomes a snapshot."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from lineage import files, params
from pipelines.lists import admission, descriptions, recognition
from tests.builders import PARAMS


def looked_at(folder: Path, path: Path, scores: dict[str, str] | None = None) -> None:
    """Checks a list as `snapshot add` does."""
    made = folder / "made"
    described = recognition.describe(path, {}, scores=scores)
    files.write_bytes(made / path.name, path.read_bytes())
    descriptions.save(described, made)
    admission.check_rows(path, made, scores or {})


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (
            "url,caption\na cat,http://a/1\n",
            r"none of the first 1 rows is a pair \(most: 1 not_a_url\); caption is column",
        ),
        (
            "url,caption\nhttp://a/1,\nhttp://a/2,\n,x\n",
            r"the first 3 rows is a pair \(most: 2 no_caption\).*'http://a/1'",
        ),
        ("url,caption\n", "the list has no rows"),
    ],
)
def test_a_list_without_a_pair_at_its_top_is_refused(tmp_path: Path, content: str, told: str) -> None:
    path = tmp_path / "list.csv"
    path.write_text(content)
    with pytest.raises(ValueError, match=told):
        looked_at(tmp_path, path)
    path.write_text(content + "http://a/9,a dog\n")
    looked_at(tmp_path, path)


def test_columns_that_hold_no_text_are_told(tmp_path: Path) -> None:
    path = tmp_path / "list.parquet"
    pq.write_table(pa.table({"url": [["http://a/1"]], "caption": ["a cat"]}), path)
    with pytest.raises(ValueError, match=r"most: 1 no_url\).*\['http://a/1'\]"):
        looked_at(tmp_path, path)


def test_a_score_without_a_number_is_told(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("url,caption,p\nhttp://a/1,a cat,x\n")
    with pytest.raises(ValueError, match=r"column p has no number in the first 1 rows \(score p\)"):
        looked_at(tmp_path, path, {"p": "p"})


@pytest.mark.parametrize(
    ("section", "rule", "told"),
    [
        ("screen", {"rule": "sid"}, r"screen\.rules\[0\]\.rule: there is no rule 'sid'"),
        ("select", {"rule": "aspect"}, r"select\.rules\[0\]\.max_ratio is missing"),
    ],
)
def test_a_mistake_in_a_recipe_is_told(
    section: str, rule: dict[str, str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    screen = {"rules": [{"rule": "side", "min_px": 8}], "num_partitions": 1}
    params.PARAMS.write_text(yaml.safe_dump({**PARAMS, "screen": screen}))
    admission.check_recipes()
    content = {**PARAMS, "screen": screen}
    content[section] = {**content[section], "rules": [rule]}
    params.PARAMS.write_text(yaml.safe_dump(content))
    with pytest.raises(ValueError, match=told):
        admission.check_recipes()
