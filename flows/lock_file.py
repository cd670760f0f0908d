"""DVC's files when a kill cut them off: it empties dvc.lock and then writes it, stage by stage; its rwlock, too."""

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import yaml

from lineage import files

_NAME = "dvc.lock"
_KEPT = Path(".work") / _NAME
_RWLOCK = Path(".dvc/tmp/rwlock")
"""Where DVC notes who reads and writes what; it refuses everything while that is no JSON."""
_SETTLED_S = 2.0
"""A `dvc repro` by hand may be about to write the rest of it."""


def keep(root: Path) -> None:
    """Puts a copy of a whole dvc.lock aside."""
    content = _bytes(root / _NAME)
    if _is_whole(content):
        files.write_bytes(root / _KEPT, content)


def mend(root: Path, say: Callable[[str], None]) -> None:
    """Brings back a dvc.lock that was cut off: the copy put aside, else the last commit's, else none.

    What that does not know of, DVC's run cache does. A file that is whole, or not there, stays as it is.
    """
    path = root / _NAME
    if not path.exists() or _is_whole(_bytes(path)):
        return
    time.sleep(_SETTLED_S)
    if _is_whole(_bytes(path)):
        return
    kept = _bytes(root / _KEPT)
    if _is_whole(kept):
        files.write_bytes(path, kept)
    else:
        path.unlink()
        subprocess.run(["git", "checkout", "--quiet", "HEAD", "--", _NAME], cwd=root, capture_output=True, check=False)
    say(f"{path} was cut off by a kill: it is again as before that stage")


def mend_rwlock(root: Path, say: Callable[[str], None]) -> None:
    """Removes an rwlock that was cut off: who is noted there is dead, and DVC begins another."""
    path = root / _RWLOCK
    if _is_json(path):
        return
    time.sleep(_SETTLED_S)
    if not _is_json(path):
        path.unlink(missing_ok=True)
        say(f"{path} was cut off by a kill, and is removed")


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_bytes())
    except FileNotFoundError:
        return True
    except ValueError:
        return False
    return True


def _bytes(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def _is_whole(content: bytes) -> bool:
    try:
        parsed = yaml.load(content, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - a safe loader
    except yaml.YAMLError:
        return False
    return isinstance(parsed, dict) and isinstance(parsed.get("stages"), dict) and content.endswith(b"\n")
