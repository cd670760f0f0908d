"""The roots exist and are tracked from the start, grow without losing a row, and keep no URL in the clear."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lineage import digests, records
from pipelines import roots
from tests.builders import contents, init_repository, make_picture, write_params

ROOT = Path(__file__).parents[2]
NAMES = ("optouts.parquet", "scores.parquet", "concepts.txt")
URL = "https://a.test/secret.png"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with the roots laid down: DVC takes seconds to start."""
    folder = tmp_path_factory.mktemp("template")
    init_repository(folder)
    (folder / ".gitignore").write_text("".join(f"/data/{name}\n" for name in NAMES))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_params()
        roots.lay()
    return folder


@pytest.fixture
def project(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(template, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What DVC was asked for, and it still does it."""
    found: list[tuple[str, ...]] = []
    real = roots.dvc

    def asked(*arguments: str) -> None:
        found.append(arguments)
        real(*arguments)

    monkeypatch.setattr(roots, "dvc", asked)
    return found


@pytest.fixture
def no_dvc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Commands DVC would have run: where only the roots themselves matter."""
    monkeypatch.chdir(tmp_path)
    write_params()
    found: list[tuple[str, ...]] = []
    monkeypatch.setattr(roots, "dvc", lambda *arguments: found.append(arguments))
    return found


def data() -> dict[str, bytes]:
    return contents(Path("data"))


@pytest.mark.usefixtures("project")
def test_they_are_laid_down_empty_and_tracked(calls: list[tuple[str, ...]]) -> None:
    assert set(data()) == {*NAMES, *(f"{name}.dvc" for name in NAMES)}
    assert records.read_table(roots.OPTOUTS, records.OPTOUTS).num_rows == 0
    assert records.read_table(roots.SCORES, records.SCORES).num_rows == 0
    assert roots.CONCEPTS.read_bytes() == b""
    before = data()
    roots.lay()
    assert (data(), calls) == (before, [])


@pytest.mark.usefixtures("project")
def test_what_is_missing_comes_back_from_the_cache(calls: list[tuple[str, ...]]) -> None:
    roots.add_opt_outs([URL], None)
    before = data()
    calls.clear()
    for name in NAMES:
        Path("data", name).unlink()
    roots.lay()
    assert (data(), calls) == (before, [("checkout", "data/optouts.parquet")])
    roots.OPTOUTS.unlink()
    shutil.rmtree(".dvc/cache")
    with pytest.raises(ValueError, match=r"^data/optouts\.parquet: tracked, but not in DVC's cache; `dvc pull data/"):
        roots.lay()
    assert not roots.OPTOUTS.exists()


@pytest.mark.usefixtures("project")
def test_opt_outs_are_kept_as_hashes_sorted_and_once(calls: list[tuple[str, ...]]) -> None:
    Path("a.png").write_bytes(make_picture(1))
    assert roots.add_opt_outs(["a.png"], "picture") == 2
    assert roots.add_opt_outs([URL, "ab" * 32], None) == 2
    before, count = data(), len(calls)
    assert roots.add_opt_outs([URL, URL], None) == 0
    assert (data(), len(calls)) == (before, count)
    rows = [(row["kind"], row["value"]) for row in records.read_table(roots.OPTOUTS).to_pylist()]
    assert rows == sorted(rows)
    assert ("url_sha256", digests.sha256_bytes(URL.encode())) in rows
    assert b"secret" not in before["optouts.parquet"]
    recorded = re.search(rb"md5: (\w{32})", before["optouts.parquet.dvc"])
    assert recorded is not None
    assert recorded.group(1).decode() == digests.md5_file(roots.OPTOUTS)


@pytest.mark.usefixtures("no_dvc")
def test_a_mistake_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    roots.lay()
    before = data()
    Path("list.txt").write_text("a.test\n???\n")
    with pytest.raises(SystemExit):
        roots.opt_out(["list.txt"])
    with pytest.raises(SystemExit):
        roots.opt_out([URL], url=True, host=True)
    assert data() == before
    errors = capsys.readouterr().err.splitlines()
    assert errors[0].startswith("error: list.txt, row 2: '???' is no URL")
    assert errors[1] == "error: --url and --host: give one of them"


def test_scores_are_merged_and_what_is_odd_is_said(
    no_dvc: list[tuple[str, ...]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "clipline")
    a, b = "a" * 32, "b" * 32
    Path("t.csv").write_text(f"uid,nice\n{a},1\n{b},\n")
    roots.add_scores(Path("t.csv"), "uid")
    assert "t.csv: nice: 1 rows without a finite number left out" in caplog.text
    assert "no data/source" not in caplog.text  # there is none to compare with
    records.write_table(records.rows_table([{"uid": a}], records.SOURCE), Path("data/source/s1/source.parquet"))
    Path("t.csv").write_text(f"uid,nice\n{a},3\n{b},2\n")
    roots.add_scores(Path("t.csv"), "uid")
    assert "t.csv: 1 uids stand in no data/source; their scores are kept" in caplog.text
    kept = [(row["uid"], row["value"]) for row in records.read_table(roots.SCORES, records.SCORES).to_pylist()]
    assert kept == [(a, 3.0), (b, 2.0)]
    assert no_dvc[-1] == ("add", "data/scores.parquet")


@pytest.mark.usefixtures("no_dvc")
def test_concepts_are_distinct_and_sorted(capsys: pytest.CaptureFixture[str]) -> None:
    Path("words.txt").write_text("red  fox\ncat\n\nred fox\nå\n", encoding="utf-8")
    roots.set_concepts(Path("words.txt"))
    assert roots.CONCEPTS.read_text(encoding="utf-8") == "cat\nred fox\nå\n"
    roots.list_()
    assert capsys.readouterr().out == (
        "data/optouts.parquet  empty\ndata/scores.parquet  empty\ndata/concepts.txt  3 concepts\n"
    )
    Path("words.txt").write_text("\n \n")
    with pytest.raises(ValueError, match=r"words\.txt: names no concept"):
        roots.set_concepts(Path("words.txt"))


def test_where_dvc_refuses_nothing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # no repository
    with pytest.raises(ValueError, match=r"dvc add data/optouts\.parquet .* failed: .+"):
        roots.lay()
    assert data() == {}


@pytest.mark.slow
@pytest.mark.usefixtures("project")
def test_opt_outs_that_come_at_once_are_all_kept() -> None:
    urls = [f"https://a.test/{number}.png" for number in range(3)]
    command = [sys.executable, "-m", "pipelines.roots", "opt-out"]
    started = [subprocess.Popen([*command, url], env={**os.environ, "PYTHONPATH": str(ROOT)}) for url in urls]
    assert [process.wait() for process in started] == [0, 0, 0]
    assert roots.count()[roots.OPTOUTS] == {"url_sha256": 3}
