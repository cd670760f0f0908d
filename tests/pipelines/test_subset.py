"""A subset is what its formula says, down to operands that were not made here."""

import logging
from pathlib import Path

import pytest

from lineage import files, records
from pipelines import subset, uid_sets
from tests.builders import contents, write_kept

A, B, C, D = (letter * 32 for letter in "abcd")
SELECTION = Path("data/selection")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_kept(SELECTION / "s1" / "kept.parquet", {A: "train", B: "val"})
    write_kept(SELECTION / "s2" / "kept.parquet", {C: "train"})
    Path("x.txt").write_text(f"{C}\n{A}\n{C}\n{D}\n")
    Path("y.txt").write_text(f"{D}\n")


def texts(path: str) -> list[str]:
    found: list[str] = uid_sets.as_texts(uid_sets.read(Path(path))).to_pylist()
    return found


def test_the_formula_goes_down_to_what_was_not_made_here() -> None:
    subset.minus([Path("x.txt"), Path("y.txt")], Path("most.npy"))
    subset.union([Path("most.npy"), SELECTION], Path("all.txt"))
    subset.sample(Path("all.txt"), Path("some.parquet"), num=2, seed=5)
    assert texts("most.npy") == [A, C, C]
    assert texts("all.txt") == [A, B, C, C]
    formula = files.read_json(Path("some.parquet.formula.json"))
    assert formula["expression"] == "sample(union(minus(x.txt, y.txt), data/selection), num=2, seed=5)"
    assert (formula["uids"], formula["digest"]) == (2, uid_sets.digest(uid_sets.read(Path("some.parquet"))))
    [union] = formula["operands"]
    assert (union["name"], union["rows"], union["uids"]) == ("all.txt", 4, 3)
    most, selected = union["formula"]["operands"]
    assert [one["name"] for one in most["formula"]["operands"]] == ["x.txt", "y.txt"]
    assert (selected["uids"], "formula" in selected) == (3, False)
    assert most["digest"] == uid_sets.digest(uid_sets.read(Path("most.npy")))


def test_the_same_command_writes_the_same_bytes() -> None:
    subset.intersect([Path("x.txt"), SELECTION], Path("c.npy"))
    before = contents(Path())
    assert texts("c.npy") == [A, C, C]
    subset.intersect([Path("x.txt"), SELECTION], Path("c.npy"))
    assert contents(Path()) == before


def test_a_formula_that_is_not_its_own_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    subset.export(Path("x.txt"), Path("c.txt"))
    Path("c.txt").write_text(f"{A}\n")
    with pytest.raises(SystemExit):
        subset.export(Path("c.txt"), Path("d.npy"))
    assert "error: c.txt.formula.json: tells of other uids than c.txt holds; make" in capsys.readouterr().err
    assert not Path("d.npy").exists()


def test_a_subset_becomes_kept_pairs_again(caplog: pytest.LogCaptureFixture) -> None:
    subset.export(Path("x.txt"), Path("theirs.npy"))
    with caplog.at_level(logging.INFO, "clipline"):
        counts = subset.import_set(Path("theirs.npy"), SELECTION, Path("data/mine"))
    assert counts == {"s1": 1, "s2": 1}
    assert records.read_table(Path("data/mine/s1/kept.parquet"), records.KEPT).to_pylist() == [
        {"uid": A, "split": "train"}
    ]
    assert texts("data/mine") == [A, C]
    assert "theirs.npy: 1 uids are not selected in data/selection and were left out" in caplog.text
    assert "theirs.npy: 1 repeats were left out" in caplog.text
    formula = files.read_json(Path("data/mine.formula.json"))
    assert formula["expression"] == "intersect(data/selection, export(x.txt))"
    with pytest.raises(ValueError, match=r"y\.txt: names no pair that data/selection keeps"):
        subset.import_set(Path("y.txt"), SELECTION, Path("data/none"))


def test_mistakes_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (
        lambda: subset.union([Path("lost.npy")], Path("c.npy")),
        lambda: subset.sample(Path("x.txt"), Path("c.npy"), num=9, seed=0),
        lambda: subset.sample(Path("x.txt"), Path("c.npy"), num=1, seed=-1),
        lambda: subset.export(Path("x.txt"), Path("c.csv")),
    ):
        with pytest.raises(SystemExit):
            command()
    errors = capsys.readouterr().err.splitlines()
    assert errors[:3] == [
        "error: lost.npy: no such file or folder",
        "error: a sample of 9 cannot be drawn from 3 uids",
        "error: --seed -1: must be >= 0",
    ]
    assert errors[3].startswith("error: c.csv: name a file that ends in")
    assert not list(Path().glob("c.*"))
