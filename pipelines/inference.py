"""Embeddings by clip-retrieval's own inference (its reader, mapper, writer and runner), with the scorer in eval mode.

clip-retrieval uses a model as open_clip's factory returns it, in training mode: a tower with BatchNorm then gives
wrong embeddings that depend on the batch. Here it gets the scorer in eval mode, one pass at a time, in one process,
over a tar of our own making: which rows share a batch depends on nothing but their order in it.
"""

import contextlib
import functools
import gc
import io
import threading
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from lineage import digests, files
from pipelines import tar

WEIGHTS = "open_clip_model.safetensors"
HUB_CONFIG = "open_clip_config.json"
_PICTURE, _TEXT = "picture", "txt"
_ONE_AT_A_TIME = threading.Lock()
"""Torch's thread count, stdout and the filter of warnings belong to the whole process; a runner may use threads."""

Vectors = npt.NDArray[np.float16]
Device = Literal["cpu", "cuda"]


class Scorer(NamedTuple):
    """Towers as open_clip loads them from a model folder, in eval mode."""

    model: Any
    preprocess: Any
    """PIL picture -> float tensor (3, S, S)."""
    tokenizer: Any
    """List of texts -> int64 tensor (N, context length)."""
    device: Device


class Settings(NamedTuple):
    """What embeddings depend on besides the rows."""

    scorer: Path
    """A model folder."""
    scorer_sha256: str
    """Of its weights: another one is another scorer, whatever the folder's name."""
    batch_size: int
    threads: int
    device: Device


class Sample(NamedTuple):
    """One pair to embed."""

    uid: str
    picture: bytes
    caption: bytes
    """UTF-8; not read where only pictures are embedded."""


class Embedded(NamedTuple):
    """The rows that inference returned, in order of uid: N' of them, at most as many as went in."""

    uids: list[str]
    image_ND: Vectors
    """float16, L2-normalised."""
    text_ND: Vectors
    """float16, L2-normalised; no row where only pictures were embedded."""


def settings(scorer: Path, batch_size: int, threads: int, device: Device) -> Settings:
    """Returns the settings with the scorer's digest.

    Raises:
        FileNotFoundError: if the folder is not a model's.
    """
    architecture(scorer)
    return Settings(scorer, digests.sha256_file(scorer / WEIGHTS), batch_size, threads, device)


def architecture(scorer: Path) -> tuple[str, dict[str, Any]]:
    """Returns the name of a model folder's architecture and its config in the hub's form.

    Raises:
        FileNotFoundError: if a file of a model is missing.
        ValueError: if not exactly one flat config lies there.
    """
    for name in (WEIGHTS, HUB_CONFIG):
        if not (scorer / name).is_file():
            raise FileNotFoundError(f"{scorer / name}: no such file; `dvc repro scorer` makes the scorer")
    flat = [path.stem for path in sorted(scorer.glob("*.json")) if path.name != HUB_CONFIG]
    if len(flat) != 1:
        raise ValueError(f"{scorer}: needs one ARCH.json beside {HUB_CONFIG}, found {', '.join(flat) or 'none'}")
    return flat[0], files.read_json(scorer / HUB_CONFIG)


def load(scorer: Path, device: Device) -> Scorer:
    """Returns the towers of a model folder with their own preprocessing, float32, in eval mode.

    Raises:
        ValueError: if the weights do not fit the config, or there is no such device.
    """
    import open_clip
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("params.yaml: embed.device is cuda, but this machine has none; choose cpu")
    arch, config = architecture(scorer)
    open_clip.add_model_config(scorer / f"{arch}.json")
    prepared = {f"image_{name}": value for name, value in config["preprocess_cfg"].items()}
    try:
        model, _, preprocess = open_clip.create_model_and_transforms(
            arch, pretrained=str((scorer / WEIGHTS).absolute()), device=device, **prepared
        )
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"{scorer}: open_clip cannot load this model: {error}") from None
    return Scorer(model.eval(), preprocess, open_clip.get_tokenizer(arch), device)


def embed(samples: Iterable[Sample], settings: Settings, work: Path, *, with_text: bool) -> Embedded:
    """Returns the embeddings of some samples; those whose picture or text inference leaves out are not among them.

    Args:
        samples: in the order that decides which of them share a batch; uids differ.
        work: a folder of this call's own, emptied at its end.
    """
    files.remove(work)
    work.mkdir(parents=True)
    pairs = work / "pairs.tar"
    num_samples = _write_pairs(samples, pairs, with_text)
    if num_samples:
        _infer(pairs, work, settings, with_text)
    found = _read(work, settings.scorer, with_text)
    files.remove(work)
    return found


@functools.lru_cache(maxsize=1)
def _loaded(scorer: Path, scorer_sha256: str, device: Device) -> Scorer:
    """Returns the scorer, loaded once in a process."""
    assert scorer_sha256
    return load(scorer, device)


def _write_pairs(samples: Iterable[Sample], path: Path, with_text: bool) -> int:
    number = 0
    with path.open("wb") as file:
        for sample in samples:
            tar.add(file, f"{sample.uid}.{_PICTURE}", sample.picture)
            if with_text:
                tar.add(file, f"{sample.uid}.{_TEXT}", sample.caption)
            number += 1
        tar.close(file)
    return number


def _infer(pairs: Path, out: Path, settings: Settings, with_text: bool) -> None:
    """Runs clip-retrieval over a tar; its folders img_emb, text_emb and metadata appear in `out`."""
    with _ONE_AT_A_TIME, _quiet():
        from clip_retrieval.clip_inference import mapper, reader, runner, writer

        scorer = _loaded(settings.scorer, settings.scorer_sha256, settings.device)
        enabled = {"enable_image": True, "enable_text": with_text, "enable_metadata": False}
        mapper.load_clip = lambda **_: scorer[:3]  # its own would load the towers in training mode

        def read(sampler: Any) -> Any:
            keys = {"wds_image_key": _PICTURE, "wds_caption_key": _TEXT}
            prepared = (scorer.preprocess, scorer.tokenizer, [str(pairs)], settings.batch_size)
            return reader.WebdatasetReader(sampler, *prepared, num_prepro_workers=0, **enabled, **keys)

        def map_batches() -> Any:
            made = mapper.ClipMapper(**enabled, use_mclip=False, clip_model="", use_jit=False, mclip_model="")
            made.device = scorer.device  # not its choice, CUDA wherever there is one
            return made

        def write(partition: int) -> Any:
            return writer.NumpyWriter(partition, str(out), with_text, True, False, output_partition_count=1)

        with _threads(settings.threads):
            runner.Runner(read, map_batches, write, lambda _: _NoLog(), output_partition_count=1)(0)


class _NoLog:
    """What clip-retrieval logs to: its own starts a process a partition."""

    def start(self) -> None:
        pass

    def __call__(self, stats: dict[str, float]) -> None:
        pass

    def end(self) -> None:
        pass


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps what clip-retrieval prints from the terminal; closes the file that webdataset leaves open."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
        gc.collect()


@contextlib.contextmanager
def _threads(number: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _read(folder: Path, scorer: Path, with_text: bool) -> Embedded:
    """Returns what clip-retrieval wrote, joined by uid and sorted; rows that are no numbers are left out."""
    import pyarrow.parquet as pq

    metadata = folder / "metadata/metadata_0.parquet"
    if not metadata.is_file():  # it writes no file where no sample came through
        none = np.empty((0, architecture(scorer)[1]["model_cfg"]["embed_dim"]), dtype=np.float16)
        return Embedded([], none, none)
    uids = pq.read_table(metadata, columns=["image_path"])["image_path"].to_pylist()
    image_ND = np.load(folder / "img_emb/img_emb_0.npy")
    text_ND = np.load(folder / "text_emb/text_emb_0.npy") if with_text else image_ND[:0]
    is_good = np.isfinite(image_ND).all(axis=1)
    if with_text:
        is_good &= np.isfinite(text_ND).all(axis=1)
    order = [row for row in sorted(range(len(uids)), key=uids.__getitem__) if is_good[row]]
    return Embedded([uids[row] for row in order], image_ND[order], text_ND[order] if with_text else text_ND)


def save_vectors(vectors_ND: Vectors, path: Path) -> None:
    """Writes vectors as .npy by a rename; equal vectors are equal bytes."""
    content = io.BytesIO()
    np.save(content, np.ascontiguousarray(vectors_ND, dtype=np.float16), allow_pickle=False)
    files.write_bytes(path, content.getvalue())


def cosines(first_ND: Vectors, second_ND: Vectors) -> Sequence[float]:
    """Returns the cosine of each row of one array with the same row of the other, in float32, to 6 decimals."""
    first, second = first_ND.astype(np.float32), second_ND.astype(np.float32)
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    found: list[float] = np.round(np.einsum("nd,nd->n", first, second) / lengths, 6).astype(np.float64).tolist()
    return [round(value, 6) for value in found]
