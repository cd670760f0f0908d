"""STS-B's and SST-2's files, read as they are handed out, whole and broken."""

from pathlib import Path

import pytest

from tests.cyclip_model.sets.laid import ask, described, hashes, lay, rows

STS = """main-captions\tMSRvid\t2012test\t0024\t2.500\tA girl is "styling" her hair.\tA girl is brushing her hair.
main-news\theadlines\t2015\t1500\t0.000\tIt's rain, again\tSun at last\tlicence one\tlicence two
"""
SST = "sentence\tlabel\nhide new secretions \t0\n\"it 's a charming journey .\t1\n"


def sts(tmp_path: Path, text: str = STS) -> Path:
    source = ask(tmp_path / "stsb", "sts")
    (source / "sts-test.csv").write_text(text)
    return source


def sst(tmp_path: Path, train: str = SST, dev: str = SST) -> Path:
    source = ask(tmp_path / "sst2", "sst")
    (source / "train.tsv").write_text(train)
    (source / "dev.tsv").write_text(dev)
    return source


def test_pairs_of_sentences_quotes_and_all(tmp_path: Path) -> None:
    out, _ = lay(sts(tmp_path))
    assert rows(out) == [
        {"sentence_1": 'A girl is "styling" her hair.', "sentence_2": "A girl is brushing her hair.", "score": 2.5},
        {"sentence_1": "It's rain, again", "sentence_2": "Sun at last", "score": 0.0},
    ]
    said = described(out)
    assert (said["kind"], said["parts"]) == ("sts", {"test": 2})
    assert hashes(out) == []


def test_sentences_with_labels(tmp_path: Path) -> None:
    out, _ = lay(sst(tmp_path, train=SST + "plain\t1\n"))
    assert rows(out) == [
        {"sentence": "hide new secretions", "label": 0},
        {"sentence": "\"it 's a charming journey .", "label": 1},
    ]
    assert described(out)["parts"] == {"train": 3, "test": 2}
    assert described(out)["classnames"] == ["negative", "positive"]
    assert len(rows(out, "train")) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (STS + "main\tMSRvid\t2012test\t0025\t1.0\tA dog\n", "row 3 has 6 columns: it is cut off"),
        (STS.replace("2.500", "high"), "row 1: score 'high' is not a number"),
        (STS.replace("2.500", "5.1"), r"row 1: score 5\.1 is not between"),
        (STS.replace("2.500", "nan"), "row 1: score nan is not between"),
        ("", "part test has no row"),
    ],
)
def test_damaged_pairs_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        lay(sts(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SST + "no label\n", r"train\.tsv: row 4 must be"),
        (SST + "odd\t2\n", r"train\.tsv: row 4 must be"),
        (SST.partition("\n")[2], r"train\.tsv: row 1 must be the header"),
    ],
)
def test_damaged_sentences_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        lay(sst(tmp_path, train=text))


def test_text_of_another_encoding_is_named(tmp_path: Path) -> None:
    source = sts(tmp_path)
    (source / "sts-test.csv").write_bytes(STS.replace("rain", "Schnee fällt").encode("latin-1"))
    with pytest.raises(ValueError, match=r"sts-test\.csv: not UTF-8"):
        lay(source)


def test_half_present_and_absent(tmp_path: Path) -> None:
    source = sst(tmp_path)
    (source / "dev.tsv").unlink()
    with pytest.raises(FileNotFoundError, match=r"dev\.tsv is missing"):
        lay(source)
    (source / "train.tsv").unlink()
    out, laid = lay(source)
    assert laid.absent
    assert described(out)["kind"] == "sentences"
