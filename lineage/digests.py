"""Digests of files and folders: sha256 for ourselves, md5 in the form DVC records in dvc.lock."""

import hashlib
import json
from pathlib import Path
from typing import Any

IGNORED_NAMES = frozenset({".gitignore", "__pycache__"})
"""Names .dvcignore leaves out of every folder."""


def sha256_bytes(content: bytes) -> str:
    """Returns the sha256 of `content`, 64 hex digits."""
    return hashlib.sha256(content).hexdigest()


def sha256_file(path: Path) -> str:
    """Returns the sha256 of a file, 64 hex digits, in constant memory."""
    return _hash_file(path, "sha256")


def md5_file(path: Path) -> str:
    """Returns the md5 of a file, 32 hex digits: DVC's digest of it."""
    return _hash_file(path, "md5")


def dvc_digest(path: Path) -> str:
    """Returns the digest DVC would record for a file or a folder.

    Raises:
        FileNotFoundError: if there is nothing at `path`.
    """
    return listing_digest(folder_listing(path)) if path.is_dir() else md5_file(path)


def described(path: Path) -> dict[str, Any]:
    """Returns {md5} of a file, {md5, files: {relpath: md5}} of a folder: enough to check any path in or above it."""
    if not path.is_dir():
        return {"md5": md5_file(path)}
    listing = folder_listing(path)
    return {"md5": listing_digest(listing), "files": {entry["relpath"]: entry["md5"] for entry in listing}}


def folder_listing(folder: Path) -> list[dict[str, str]]:
    """Returns DVC's listing of a folder: {md5, relpath} of each file, sorted by relpath."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    entries = [
        {"md5": md5_file(path), "relpath": path.relative_to(folder).as_posix()}
        for path in files
        if not IGNORED_NAMES & set(path.relative_to(folder).parts) and path.suffix != ".pyc"
    ]
    return sorted(entries, key=lambda entry: entry["relpath"])


def listing_digest(listing: list[dict[str, str]]) -> str:
    """Returns the digest of a folder listing: md5 of its JSON, with `.dir` at the end."""
    text = json.dumps(sorted(listing, key=lambda entry: entry["relpath"]))
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest() + ".dir"


def content_digest(content: Any) -> str:
    """Returns the sha256 of a JSON-able value, independent of the order of its keys."""
    return sha256_bytes(json.dumps(content, sort_keys=True, ensure_ascii=False).encode())


def _hash_file(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()
