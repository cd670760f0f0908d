"""What a person gives to opt out becomes hashes: each kind by its form, anything else an error with file and row."""

import re
from pathlib import Path

import pytest

from lineage import digests, phash, records
from pipelines import optouts, pictures
from tests.builders import make_picture, write_params

URL = "https://a.test/x?y=%C3%A9#z"
SHA256, PHASH = "ab" * 32, "0123456789abcdef"


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_params()


def parse(text: str, kind: str | None = None) -> list[optouts.Entry]:
    return optouts.parse(text, kind, Path("params.yaml"))


def hashed(text: str) -> str:
    return digests.sha256_bytes(text.encode())


def test_values_are_recognised_by_their_form() -> None:
    assert set(parse(URL)) == {("url_sha256", hashed(URL)), ("url_sha256", hashed(URL.removesuffix("#z")))}
    assert parse("http://a.test/x") == [("url_sha256", hashed("http://a.test/x"))]
    assert parse(SHA256.upper()) == [("sha256", SHA256)]
    assert parse(PHASH.upper()) == [("phash", PHASH)]
    assert parse("A.Test", "host") == [("host_sha256", hashed("a.test"))]
    assert parse("https://a.test/" + "x" * 5000)  # longer than a file's name can be


def test_a_file_with_one_a_line() -> None:
    Path("list.txt").write_text(f"# asked on 1 May\n{URL}\n\n  a.Test \n{SHA256}\n{PHASH}\n", encoding="utf-8-sig")
    entries = [*parse(URL), ("host_sha256", hashed("a.test")), ("sha256", SHA256), ("phash", PHASH)]
    assert parse("list.txt") == entries


def test_international_hosts_are_opted_out_in_both_spellings() -> None:
    both = {("host_sha256", hashed("bücher.test")), ("host_sha256", hashed("xn--bcher-kva.test"))}
    assert set(parse("Bücher.test", "host")) == set(parse("xn--bcher-kva.test", "host")) == both


def test_a_table_of_hashes() -> None:
    rows = [{"kind": "host_sha256", "value": SHA256}, {"kind": "phash", "value": PHASH}]
    records.write_table(records.rows_table(rows, records.OPTOUTS), Path("theirs.parquet"))
    assert parse("theirs.parquet") == [("host_sha256", SHA256), ("phash", PHASH)]
    records.write_table(
        records.rows_table([*rows, {"kind": "url", "value": URL}], records.OPTOUTS), Path("bad.parquet")
    )
    with pytest.raises(ValueError, match=r"bad\.parquet, row 3: url 'https:.* is no opt-out"):
        parse("bad.parquet")


def test_a_picture_gives_both_its_hashes() -> None:
    content = make_picture(1)
    Path("a.png").write_bytes(content)
    rgb = pictures.read(content, max_pixels=1000).rgb
    assert rgb is not None
    look = phash.hex_hash(phash.perceptual_hash(rgb))
    assert parse("a.png", "picture") == [("sha256", digests.sha256_bytes(content)), ("phash", look)]


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("lost.txt", None, "lost.txt: no such file; a host name is given with --host"),
        ("what", None, "what: no such file; and neither a URL nor a hash of 64 or 16 digits"),
        ("ftp://a.test/x", "url", "opt-out: 'ftp://a.test/x' is no url"),
        ("a.test/x", "host", "opt-out: 'a.test/x' is no host"),
        (PHASH, "sha256", f"opt-out: '{PHASH}' is no sha256"),
        ("lost.png", "picture", "lost.png: no such file"),
        ("list.txt", None, "list.txt, row 2: 'not one' is no URL, host name, sha256 or perceptual hash"),
        ("list.txt", "url", "list.txt, row 1: 'a.test' is no url"),
        ("list.txt", "picture", "list.txt: undecodable (the bound is 10000 pixels); give its --sha256 instead"),
        ("a.png", None, "a.png: not a text file in UTF-8; a picture is given with --picture"),
        ("big.png", "picture", "big.png: too_many_pixels (the bound is 10000 pixels); give its --sha256 instead"),
        ("cut.png", "picture", "cut.png: truncated (the bound is 10000 pixels); give its --sha256 instead"),
    ],
)
def test_mistakes_name_file_and_row(text: str, kind: str | None, words: str) -> None:
    Path("list.txt").write_text("a.test\nnot one\n")
    Path("a.png").write_bytes(make_picture(1))
    Path("big.png").write_bytes(make_picture(1, (200, 100)))
    Path("cut.png").write_bytes(make_picture(1)[:-200])
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        parse(text, kind)
