import functools
import hashlib
from pathlib import Path

import fsspec
import pytest

from flows import sources
from pipelines.web.lists import PassingError
from tests.project import served

PARAMS = Path(__file__).resolve().parents[2] / "params.yaml"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "checkout"
    made.mkdir()
    text = PARAMS.read_text().replace("allow_addresses: [] ", "allow_addresses: [127.0.0.0/8] ")
    (made / "params.yaml").write_text(text)
    return made


def md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def test_a_path_stays_where_it_is_and_counts_from_the_checkout(root: Path) -> None:
    (root / "links.csv").write_text("url,caption\n")
    assert sources.fetch("links.csv", root / "scratch", root) == root / "links.csv"
    assert sources.fetch("/abs/links.csv", root / "scratch", root) == Path("/abs/links.csv")
    assert sources.found(root / "links.csv").digests == {md5("url,caption\n")}
    assert sources.found(root / "*.csv").digests == {md5("url,caption\n")}
    with pytest.raises(ValueError, match=r"source: .*gone.csv"):
        sources.found(root / "gone.csv")


def test_a_list_on_the_web_comes_through_the_checks_of_addresses(root: Path, tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    (tmp_path / "web/links.csv").write_text("url,caption\n")
    with served(tmp_path / "web") as base:
        path = sources.fetch(f"{base}/links.csv?token=1", root / "scratch", root)
        assert path == root / "scratch/links.csv"
        assert path.read_text() == "url,caption\n"
        with pytest.raises(ValueError, match="HTTP 404"):
            sources.fetch(f"{base}/gone.csv", root / "scratch", root)
        (root / "params.yaml").write_bytes(PARAMS.read_bytes())
        with pytest.raises(ValueError, match=r"127\.0\.0\.1"):
            sources.fetch(f"{base}/links.csv", root / "scratch", root)
    (root / "params.yaml").write_text(
        PARAMS.read_text().replace("allow_addresses: [] ", "allow_addresses: [127.0.0.0/8] ")
    )
    with pytest.raises(PassingError):
        sources.fetch(f"{base}/links.csv", root / "scratch", root)


def test_lists_in_a_bucket_come_one_by_one_by_pattern_or_by_folder(root: Path) -> None:
    system = fsspec.filesystem("memory")
    for number in range(3):
        system.pipe(f"/lists/{number}.csv", f"url,caption\n{number}".encode())
    one = sources.fetch("memory://lists/1.csv", root / "one", root)
    assert one.read_text().endswith("1")
    several = sources.fetch("memory://lists/[01].csv", root / "several", root)
    assert sorted(path.name for path in several.iterdir()) == ["0.csv", "1.csv"]
    assert len(list(sources.fetch("memory://lists", root / "all", root).iterdir())) == 3
    with pytest.raises(ValueError, match="nothing is there"):
        sources.fetch("memory://lists/*.parquet", root / "none", root)
    with pytest.raises(ValueError, match="nosuch"):
        sources.fetch("nosuch://lists/1.csv", root / "none", root)


def test_of_a_watched_folder_the_first_file_nobody_took_is_next(root: Path) -> None:
    incoming = root / "incoming"
    with pytest.raises(ValueError, match="no folder to watch"):
        sources.next_of(incoming, [])
    incoming.mkdir()
    assert sources.next_of(incoming, []) is None
    for name in ("2026-10.csv", "2026-11.csv", ".2026-12.csv.partial", "_notes.csv"):
        (incoming / name).write_text(name)
    taken = functools.partial(sources.next_of, incoming)
    assert taken([]) == incoming / "2026-10.csv"
    assert taken([frozenset({md5("2026-10.csv")})]) == incoming / "2026-11.csv"
    assert taken([frozenset({md5("2026-10.csv")}), frozenset({md5("2026-11.csv")})]) is None


def test_what_is_set_aside_is_passed_over(root: Path) -> None:
    (root / "incoming").mkdir()
    for name in ("a.csv", "b.csv"):
        (root / "incoming" / name).write_text(name)
    sources.set_aside(root / "incoming/a.csv", "NothingNew")
    assert sources.next_of(root / "incoming", []) == root / "incoming/b.csv"
    assert (root / "incoming/.nothingnew/a.csv").is_file()
