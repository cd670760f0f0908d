"""Opt-outs as a person gives them - URLs, hosts, hashes, pictures - turned into the hashes that are kept of them."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from lineage import digests, params, phash, records
from lineage.questions import subjects
from pipelines import pictures

KINDS = ("url", "host", "sha256", "phash", "picture")
_SHA256, _PHASH = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{16}")
_HOST = re.compile(r"([^\W_]([\w-]{0,61}\w)?\.)+[^\W\d_][\w-]{0,61}\w")

Entry = tuple[str, str]
"""(kind, value) of records.OPTOUTS."""


def parse(text: str, kind: str | None, params_file: Path) -> list[Entry]:
    """Returns the opt-outs one argument stands for: a value, or a file with one a line.

    Args:
        text: a value, a text file (blank lines and lines that start with `#` say nothing), a parquet file of
            records.OPTOUTS, or a picture.
        kind: one of KINDS, or None to recognise each.
        params_file: where measure's bound on pixels stands.

    Raises:
        ValueError: naming the value, and its file and row.
    """
    path = Path(text)
    if kind == "picture":
        return list(_of_picture(path, params_file))
    if not _is_file(path):
        return _of_argument(text, kind)
    if path.suffix == ".parquet":
        return _of_table(path)
    return [
        entry
        for number, line in enumerate(read_lines(path), start=1)
        if line.strip() and not line.startswith("#")
        for entry in _of_value(line, kind or _recognise(line), f"{path}, row {number}")
    ]


def read_lines(path: Path) -> list[str]:
    """Returns the lines of a text file.

    Raises:
        ValueError: if the file is not there or not UTF-8 text, naming it.
    """
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except UnicodeDecodeError:
        hint = "; a picture is given with --picture" if pictures.sniff(path.read_bytes()[:32]) else ""
        raise ValueError(f"{path}: not a text file in UTF-8{hint}") from None


def _of_argument(text: str, kind: str | None) -> list[Entry]:
    """Returns the opt-outs of a value on the command line; there a bare host could be the name of a lost file."""
    recognised = kind or _recognise(text)
    if kind is None and recognised in (None, "host"):
        hint = "a host name is given with --host" if recognised else "and neither a URL nor a hash of 64 or 16 digits"
        raise ValueError(f"{text}: no such file; {hint}")
    return _of_value(text, recognised, "opt-out")


def _of_value(text: str, kind: str | None, where: str) -> list[Entry]:
    value = text.strip()
    lower = value.lower()
    if kind == "url" and _is_url(value):
        return [("url_sha256", digests.sha256_bytes(url.encode())) for url in sorted(subjects.url_spellings(value))]
    if kind == "host" and _is_url(f"http://{lower}") and urlsplit(f"http://{lower}").hostname == lower:
        return [("host_sha256", digests.sha256_bytes(spelling.encode())) for spelling in _spellings(lower)]
    if kind == "sha256" and _SHA256.fullmatch(lower):
        return [("sha256", lower)]
    if kind == "phash" and _PHASH.fullmatch(lower):
        return [("phash", lower)]
    raise ValueError(f"{where}: {value!r} is no {kind or 'URL, host name, sha256 or perceptual hash'}")


def _recognise(value: str) -> str | None:
    value = value.strip().lower()
    if _is_url(value):
        return "url"
    patterns = {"sha256": _SHA256, "phash": _PHASH, "host": _HOST}
    return next((kind for kind, pattern in patterns.items() if pattern.fullmatch(value)), None)


def _is_url(value: str) -> bool:
    try:
        parts = urlsplit(value)
        return parts.scheme.lower() in ("http", "https") and bool(parts.hostname) and not re.search(r"\s", value)
    except ValueError:
        return False


def _is_file(path: Path) -> bool:
    with contextlib.suppress(OSError):  # a URL may be longer than a file's name can be
        return path.is_file()
    return False


def _spellings(host: str) -> set[str]:
    """Returns a host name as URL lists may spell it: international names as they are and in their xn-- form."""
    try:
        return {host, host.encode("ascii").decode("idna") if host.isascii() else host.encode("idna").decode("ascii")}
    except UnicodeError:
        return {host}


def _of_table(path: Path) -> list[Entry]:
    rows = records.read_table(path, records.OPTOUTS).to_pylist()
    kinds = {"url_sha256": _SHA256, "host_sha256": _SHA256, "sha256": _SHA256, "phash": _PHASH}
    for number, row in enumerate(rows, start=1):
        pattern = kinds.get(row["kind"])
        if pattern is None or not pattern.fullmatch(row["value"] or ""):
            raise ValueError(f"{path}, row {number}: {row['kind']} {row['value']!r} is no opt-out")
    return [(row["kind"], row["value"]) for row in rows]


def _of_picture(path: Path, params_file: Path) -> Iterator[Entry]:
    if not _is_file(path):
        raise ValueError(f"{path}: no such file")
    content = path.read_bytes()
    yield "sha256", digests.sha256_bytes(content)
    max_pixels = params.read(params_file)["measure"]["max_pixels"]
    reading = pictures.read(content, max_pixels)
    if reading.rgb is None:
        raise ValueError(f"{path}: {reading.error} (the bound is {max_pixels} pixels); give its --sha256 instead")
    yield "phash", phash.hex_hash(phash.perceptual_hash(reading.rgb))
