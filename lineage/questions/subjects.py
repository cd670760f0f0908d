"""What a question is about: a link, a domain, a hash, a uid or a picture file, and the rows of a trail that have it."""

import contextlib
import dataclasses
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from lineage import keys, records, trail
from lineage.digests import sha256_file
from lineage.questions.holdings import Holdings

Kind = Literal["url", "domain", "sha256", "uid", "picture"]
KINDS = get_args(Kind)
DIGEST_COLUMNS = {"url": "url_sha256", "domain": "host_sha256", "sha256": "sha256", "uid": "uid"}

_SHA256, _UID = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{32}")
_DOMAIN = re.compile(r"([^\W_]([\w-]{0,61}\w)?\.)+[^\W\d_][\w-]{0,61}\w")
_FILES = frozenset(".txt .csv .tsv .json .jsonl .parquet .gz .png .jpg .jpeg .webp .gif .bmp .tif .tiff".split())
"""Suffixes of files that somebody may name where there is none; no top-level domain is one of them."""
_MOST_SHOWN = 100
_CHUNK = 1 << 18
"""Looks compared at a time: what fits into the cache of a core."""
_WIDEST = 64

RowArray = npt.NDArray[np.uint32]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A link, domain, hash, uid or picture; `digest` is sha256 of a link, domain or picture, or the uid itself."""

    kind: Kind
    text: str
    digest: str
    look: int | None = None
    """Perceptual hash, of a picture only."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Rows of one snapshot's trail, ascending."""

    row_n: RowArray
    by: str
    """The kind of the match: url, domain, sha256, uid or phash."""
    distance_n: npt.NDArray[np.uint8] | None = None
    """Bits of 64 in which each look differs, for phash only."""


def parse(text: str, kind: Kind | None, root: Path) -> Subject:
    """Returns the subject a user names; a picture file is decoded as stage measure does it.

    Raises:
        ValueError: if the text is nothing that can be asked for, or the file cannot be read.
    """
    value = text.strip()
    kind = kind or recognise(value)
    if kind is None and (Path(value).suffix or "/" in value):
        raise ValueError(f"{_shown(value)}: no such file, and no URL, domain, sha256 or uid")
    if kind == "picture":
        return _picture(text, root)
    lower = value.lower()
    if kind == "url" and _host(value):
        return Subject(kind=kind, text=value, digest=_sha256(value))
    if kind == "domain" and _host(f"http://{lower}") == lower:
        return Subject(kind=kind, text=lower, digest=_sha256(lower))
    if (kind == "sha256" and _SHA256.fullmatch(lower)) or (kind == "uid" and _UID.fullmatch(lower)):
        return Subject(kind=kind, text=lower, digest=lower)
    hint = "; a single word is a domain with --kind domain" if kind is None and value.isalnum() else ""
    raise ValueError(f"{_shown(value)!r} is no {kind or 'URL, domain, sha256, uid or picture file'}{hint}")


def recognise(value: str) -> Kind | None:
    """Returns the kind of subject that a text has the form of; a file that is there is a picture."""
    if _host(value):
        return "url"
    if _SHA256.fullmatch(value.lower()):
        return "sha256"
    if _UID.fullmatch(value.lower()):
        return "uid"
    with contextlib.suppress(OSError, ValueError):
        if Path(value).is_file():
            return "picture"
    is_file_name = Path(value).suffix.lower() in _FILES
    return "domain" if _DOMAIN.fullmatch(value.lower()) and not is_file_name else None


def find(subject: Subject, held: Holdings, snapshot: str) -> Found:
    """Returns the rows of a snapshot that are the subject: a domain with all below it, a picture by its bytes.

    A sha256 that is no picture's is looked for among those of links and hosts: all that is known of a row taken down.

    Raises:
        NotHereError: if the trail's files are not here.
    """
    if subject.kind == "domain":
        return Found(of_hosts(held, snapshot, below(subject.text, held, snapshot)), "domain")
    name = "sha256" if subject.kind in ("sha256", "picture") else subject.kind
    digests = map(_sha256, url_spellings(subject.text)) if subject.kind == "url" else [subject.digest]
    found = by_keys(held, snapshot, name, digests)
    if subject.kind == "sha256" and not len(found):
        found = by_key(held, snapshot, "url", subject.digest)
        if len(found):
            return Found(found, "url")
        hosts = records.read_table(held.path(f"data/trail/{snapshot}/hosts.parquet"), trail.HOSTS)
        mine = np.flatnonzero(pc.equal(hosts["host_sha256"], subject.digest).to_numpy(zero_copy_only=False))
        return Found(of_hosts(held, snapshot, mine), "domain" if len(mine) else "sha256")
    return Found(found, name)


def nearest(look: int, held: Holdings, snapshot: str, *, within: int) -> Found:
    """Returns the rows whose perceptual hash differs from a look in no more than `within` bits, nearest first."""
    hash_n = _mapped(held, snapshot, "looks", np.dtype(np.uint64))
    row_n = _mapped(held, snapshot, "looked", np.dtype(np.uint32))
    rows, distances = [np.empty(0, np.uint32)], [np.empty(0, np.uint8)]
    bound = within
    for start in range(0, len(hash_n), _CHUNK):
        distance_m = distances_to(look, hash_n[start : start + _CHUNK])
        near = np.flatnonzero(distance_m <= bound)
        rows.append(row_n[start + near])
        distances.append(distance_m[near])
    row_n, distance_n = np.concatenate(rows), np.concatenate(distances)
    order = np.lexsort((row_n, distance_n))
    return Found(row_n[order], "phash", distance_n[order])


def distances_to(look: int, hash_n: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint8]:
    """Returns (n,) in how many of 64 bits each hash differs from a look."""
    word_n = np.bitwise_xor(hash_n, np.uint64(look))
    word_n -= (word_n >> np.uint64(1)) & np.uint64(0x5555555555555555)
    word_n = (word_n & np.uint64(0x3333333333333333)) + ((word_n >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word_n = (word_n + (word_n >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    with np.errstate(over="ignore"):
        sum_n: npt.NDArray[np.uint64] = (word_n * np.uint64(0x0101010101010101)) >> np.uint64(56)
    return sum_n.astype(np.uint8)


def below(domain: str, held: Holdings, snapshot: str) -> npt.NDArray[np.int64]:
    """Returns which hosts of HOSTS are a domain or lie below it, in any spelling that lists use."""
    hosts = records.read_table(held.path(f"data/trail/{snapshot}/hosts.parquet"), trail.HOSTS)
    is_mine = np.zeros(hosts.num_rows, np.bool_)
    for name in spellings(domain):
        known = pc.equal(hosts["host_sha256"], _sha256(name))
        under = pc.fill_null(pc.ends_with(hosts["host"], f".{name}"), False)
        is_mine |= pc.or_(known, under).to_numpy(zero_copy_only=False)
    return np.flatnonzero(is_mine)


def num_below(domain: str, held: Holdings, snapshot: str) -> int:
    """Returns how many rows a domain and all below it have."""
    hosts = records.read_table(held.path(f"data/trail/{snapshot}/hosts.parquet"), trail.HOSTS)
    return int(hosts["rows"].to_numpy()[below(domain, held, snapshot)].sum())


def of_hosts(held: Holdings, snapshot: str, which: Iterable[int]) -> RowArray:
    """Returns the rows of some hosts of HOSTS, ascending."""
    hosts = records.read_table(held.path(f"data/trail/{snapshot}/hosts.parquet"), trail.HOSTS)
    row_N = _mapped(held, snapshot, "host.rows", np.dtype(np.uint32))
    first, number = hosts["first"].to_numpy(), hosts["rows"].to_numpy()
    parts = [row_N[first[host] : first[host] + number[host]] for host in which]
    return np.sort(np.concatenate([np.empty(0, np.uint32), *parts]))


def by_key(held: Holdings, snapshot: str, name: str, digest: str) -> RowArray:
    """Returns the rows of a snapshot that have a digest; `name` is one of the trail's keys."""
    return by_keys(held, snapshot, name, [digest])


def by_keys(held: Holdings, snapshot: str, name: str, digests: Iterable[str]) -> RowArray:
    """Returns the rows of a snapshot that have one of some digests, ascending."""
    known = _keys(held, snapshot, name)
    row_n: RowArray = np.unique(np.concatenate([np.empty(0, np.uint32), *map(known.find, digests)]))
    return row_n


def digests_of(held: Holdings, snapshot: str, name: str, row_n: RowArray) -> set[str]:
    """Returns the digests, as far as keys hold them, that some rows have."""
    known = _keys(held, snapshot, name)
    mine = np.isin(known.row_N, row_n)
    return {octets.tobytes().hex() for octets in known.key_N[mine].view("V16")}


def url_spellings(url: str) -> set[str]:
    """Returns a link as it is and as it means the same: scheme and host in lower case, no default port, no fragment."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2].lower()
    port = {"http": ":80", "https": ":443"}.get(parts.scheme.lower(), "")
    bare = host.removesuffix(port) if port else host
    user = parts.netloc.rpartition("@")[0]
    where = f"{user}@{bare}" if user else bare
    plain = parts._replace(scheme=parts.scheme.lower(), netloc=where, fragment="")
    return {url, plain.geturl(), plain._replace(fragment=parts.fragment).geturl()}


def spellings(domain: str) -> set[str]:
    """Returns a domain as URL lists may spell it: international names as they are and in their xn-- form."""
    try:
        other = domain.encode("ascii").decode("idna") if domain.isascii() else domain.encode("idna").decode("ascii")
    except UnicodeError:
        return {domain}
    return {domain, other}


def _keys(held: Holdings, snapshot: str, name: str) -> keys.Keys:
    folder = f"data/trail/{snapshot}"
    return keys.Keys(
        keys.mapped(held.path(f"{folder}/{name}.keys.npy"), keys.KEY),
        keys.mapped(held.path(f"{folder}/{name}.rows.npy"), np.dtype(np.uint32)),
    )


def _mapped(held: Holdings, snapshot: str, name: str, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    return keys.mapped(held.path(f"data/trail/{snapshot}/{name}.npy"), dtype)


def _picture(text: str, root: Path) -> Subject:
    """Returns a picture by its bytes and look; the one who decodes pictures is asked, for lineage does not.

    What the pipeline cannot decode has no look.
    """
    if not Path(text).is_file():
        raise ValueError(f"{_shown(text)}: {'a folder' if Path(text).is_dir() else 'no such file'}")
    command = [sys.executable, "-m", "pipelines.describe", str(Path(text).resolve())]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        return Subject(kind="picture", text=text, digest=sha256_file(Path(text)))
    told = json.loads(done.stdout)
    return Subject(kind="picture", text=text, digest=told["sha256"], look=int(told["phash"], 16))


def _shown(value: str) -> str:
    """Returns a text as it can be told in one line."""
    return value if len(value) <= _MOST_SHOWN else f"{value[:_MOST_SHOWN]}… ({len(value)} characters)"


def _host(value: str) -> str | None:
    try:
        parts = urlsplit(value)
        is_link = parts.scheme.lower() in ("http", "https") and not re.search(r"\s", value)
        return parts.hostname if is_link else None
    except ValueError:
        return None


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
