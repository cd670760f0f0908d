import os
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from lineage import files, records
from pipelines import demo
from pipelines.demo import demo_sets, dirt, emoji
from pipelines.demo.websites import GOOD, SNAPSHOTS
from tests.pipelines.tiny_packages import lay_packages

PACKAGES = Path("node_modules").absolute()


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a lock and small packages, as working directory."""
    shutil.copy("package-lock.json", tmp_path)
    lay_packages(tmp_path / "node_modules", 60)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_same_packages_give_the_same_bytes(checkout: Path) -> None:
    demo.main(Path("data/one"))
    demo.main(Path("data/two"))
    one = tree(Path("data/one"))
    assert one == tree(Path("data/two"))
    assert {name.partition("/")[0] for name in one} == {"site", "lists", "sets", "answer_key.parquet", "demo.json"}
    assert not list((checkout / ".work").iterdir())


def test_a_whole_demo_is_left_alone_and_a_damaged_one_made_anew(
    checkout: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = checkout / "demo"
    demo.main(folder)
    made = tree(folder)
    inode = folder.stat().st_ino
    with caplog.at_level("INFO", "clipline"):
        demo.main(folder)
    assert "is there already" in caplog.text
    assert folder.stat().st_ino == inode
    next(folder.glob("site/noto.demo.test/**/*.png")).unlink()
    demo.main(folder)
    assert folder.stat().st_ino != inode
    assert tree(folder) == made


def test_a_demo_of_other_code_is_replaced(checkout: Path) -> None:
    folder = checkout / "demo"
    folder.mkdir()
    (folder / "of-old").write_text("x", encoding="utf-8")
    files.write_json(folder / demo.STAMP, {**demo.origin(), "lock": "another", "counts": {}})
    demo.main(folder)
    assert not (folder / "of-old").exists()
    assert files.read_json(folder / demo.STAMP)["lock"] == demo.origin()["lock"]


def test_packages_elsewhere_are_never_installed_over(checkout: Path) -> None:
    with pytest.raises(ValueError, match=r"elsewhere: lacks @lobehub/fluent-emoji-3d 1\.1\.0"):
        demo.install(checkout / "elsewhere")


def test_a_failing_npm_is_one_clear_error(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(checkout / "node_modules/openmoji")
    monkeypatch.setattr(demo, "npm_command", lambda: [shutil.which("false")])
    with pytest.raises(ValueError, match=r"`npm ci` did not put openmoji 17\.0\.0 there"):
        demo.install(Path("node_modules"))


def test_npm_is_the_machines_or_the_wheels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.devnull)
    command = demo.npm_command()
    assert all(Path(part).is_file() for part in command)
    assert Path(command[0]).name == "node"


@pytest.mark.slow
@pytest.mark.skipif(not (PACKAGES / "openmoji").is_dir(), reason="needs the npm packages: npm ci")
def test_the_real_demo_is_as_large_as_promised_and_its_parts_do_not_overlap(tmp_path: Path) -> None:
    counts = demo.build(PACKAGES, tmp_path, dirt.Amounts())
    assert counts["site files"] <= 10_500
    key = records.read_table(tmp_path / "answer_key.parquet")
    good = key.filter(pc.is_in(key["dirt"], value_set=pa.array(sorted({*GOOD, "revived"}))))
    assert 4300 <= good.num_rows <= 4600
    share = pc.sum(pc.equal(good["snapshot"], SNAPSHOTS[1])).as_py() / good.num_rows
    assert 0.12 < share < 0.25
    parts = {name: records.read_table(tmp_path / f"sets/emoji/{name}.parquet") for name in demo_sets.PARTS}
    concepts = {name: set(table["concept"].to_pylist()) for name, table in parts.items()}
    for name in ("novel", "novel_twemoji", "novel_lineart"):
        assert concepts["train"].isdisjoint(concepts[name])
    # dirt takes every picture of a concept from the site now and then
    assert len(concepts["seen"] - concepts["train"]) <= 0.02 * len(concepts["seen"])
    units = {
        name: set(zip(*(parts[name][c].to_pylist() for c in ("concept", "vendor")), strict=True)) for name in parts
    }
    assert units["train"].isdisjoint(units["seen"])
    assert set(parts["train"]["vendor"].to_pylist()) == set(emoji.TRAINING_VENDORS)
