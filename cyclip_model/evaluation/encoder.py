"""One model on one set: what its towers made of a picture or a text before is read, and not made again.

Features lie under .work/features/MODEL/SET/KEY, KEY being a digest of all that they depend on; features of another key
are of another model or another set, and go. They are no result: what is computed of them is.
"""

import hashlib
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from cyclip_model.evaluation import encode
from cyclip_model.evaluation.encode import Pictures
from cyclip_model.metrics.zeroshot import Floats
from cyclip_model.model.heads import Saved
from lineage import digests, files, stage

if TYPE_CHECKING:
    from cyclip_model.model.towers import Loaded

FEATURES = "features"
_PACKAGES = ("torch", "open_clip_torch", "torchvision", "pillow")

logger = logging.getLogger("clipline")


def cache_folder(model: str, name: str, identity: Mapping[str, Any]) -> Path:
    """Where features of model MODEL on set NAME lie; those made under another identity are removed.

    Args:
        identity: digests and settings that the features depend on, beside the versions of the libraries.
    """
    key = digests.content_digest({**identity, "versions": {package: version(package) for package in _PACKAGES}})[:32]
    above = stage.WORK / FEATURES / model / name
    for other in above.glob("*"):
        if other.name != key:
            files.remove(other)
    return above / key


class Encoder:
    """The towers of one model, with the features they made of one set."""

    def __init__(self, loaded: "Loaded", saved: Saved | None, batch_size: int, folder: Path | None = None) -> None:
        """Without a folder nothing is kept."""
        self.loaded, self.saved, self.batch_size, self.folder = loaded, saved, batch_size, folder

    @property
    def device(self) -> str:
        """Where the towers compute: cpu or cuda."""
        return str(self.loaded.model.logit_scale.device.type)

    def pictures(self, name: str, pictures: Iterable[bytes], num_rows: int) -> Pictures:
        """Features of the num_rows pictures of the part of this name; they are not even read where it is known."""

        def make() -> Pictures:
            shown = stage.progress(pictures, label=f"pictures of {name}", total=num_rows)
            return encode.images(self.loaded, shown, self.batch_size)

        found = (self._read(f"{name}-{field}", num_rows) for field in Pictures._fields)
        known = [each for each in found if each is not None]
        return Pictures(*known) if len(known) == len(Pictures._fields) else self._kept(name, make())

    def texts(self, lines: Sequence[str]) -> Floats:
        """(N, D) float32 features of the text tower, not normalised; equal lines are encoded once."""
        distinct = sorted(set(lines))
        row = {line: number for number, line in enumerate(distinct)}
        name = f"texts-{hashlib.sha256(chr(0).join(distinct).encode()).hexdigest()[:32]}"
        known = self._read(name, len(distinct))
        if known is None:
            known = encode.texts(self.loaded, stage.progress(distinct, label="texts"), self.batch_size)  # type: ignore[arg-type]
            self._write(name, known)
        return known[[row[line] for line in lines]]

    def compared(self, features: Floats, modality: Literal["image", "text"]) -> Floats:
        """Unit rows that pictures and texts are compared by."""
        return encode.compared(self.saved, features, modality)

    def _kept(self, name: str, made: Pictures) -> Pictures:
        for field, array in made._asdict().items():
            self._write(f"{name}-{field}", array)
        return made

    def _read(self, name: str, num_rows: int) -> Floats | None:
        path = self.folder / f"{name}.npy" if self.folder else None
        if path is None or not path.is_file():
            return None
        try:
            array: Floats = np.load(path, mmap_mode="c", allow_pickle=False)
        except (ValueError, OSError):
            logger.warning("%s is damaged: made again", path)
            return None
        return array if len(array) == num_rows else None

    def _write(self, name: str, array: Floats) -> None:
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = self.folder / f".{name}.{os.getpid()}.partial"
        with partial.open("wb") as file:
            np.save(file, array, allow_pickle=False)
        os.replace(partial, self.folder / f"{name}.npy")
