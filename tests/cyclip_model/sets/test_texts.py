"""STS-B and SST-2 as their authors lay them down."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cyclip_model.sets import building
from tests.cyclip_model.sets import laying

STS = 'main\tMSR\t2012\t0001\t{}\tA "dog runs.\tA dog is running.\tlicence\n'


def test_sts_keeps_quotes_and_scores(tmp_path: Path) -> None:
    source = laying.describe(tmp_path / "stsb", "sts")
    laying.put(source / "sts-test.csv", STS.format("2.5") + STS.format("0.000"))
    building.build(source, tmp_path / "out", 1)
    rows = pq.read_table(tmp_path / "out/texts/test.parquet").to_pylist()
    assert rows[0] == {"sentence_1": 'A "dog runs.', "sentence_2": "A dog is running.", "score": 2.5}
    assert rows[1]["score"] == 0.0


@pytest.mark.parametrize("line", ["main\tMSR\t2012\t1\t3.0\tone", STS.format("5.1"), STS.format("nan")])
def test_a_bad_line_is_named(tmp_path: Path, line: str) -> None:
    source = laying.describe(tmp_path / "stsb", "sts")
    laying.put(source / "sts-test.csv", STS.format("1") + line)
    with pytest.raises(ValueError, match=r"sts-test\.csv: line 2: "):
        building.build(source, tmp_path / "out", 1)


def test_sst_reads_dev_as_test_and_needs_both(tmp_path: Path) -> None:
    source = laying.describe(tmp_path / "sst2", "sst")
    laying.put(source / "dev.tsv", "sentence\tlabel\ngood film \t1\n")
    with pytest.raises(FileNotFoundError, match=r"train\.tsv is missing"):
        building.build(source, tmp_path / "out", 1)
    laying.put(source / "train.tsv", "sentence\tlabel\nbad\t0\nfine\t1\n")
    assert building.build(source, tmp_path / "out", 1).parts == {"test": 1, "train": 2}
    assert pq.read_table(tmp_path / "out/texts/test.parquet").to_pylist() == [{"sentence": "good film", "label": 1}]
    laying.put(source / "train.tsv", "sentence\tlabel\nbad\t2\n")
    with pytest.raises(ValueError, match=r"train\.tsv: line 2: "):
        building.build(source, tmp_path / "out", 1)
