r"""Serves data/index by clip-retrieval's own `back`, for queries by text and by picture.

    python -m pipelines.search data/index models/scorer --port 1234
    curl -s localhost:1234/knn-service \
        -d '{"indice_name": "clipline", "text": "a red apple", "modality": "image", "num_images": 5}'

A picture goes in as base64 under `image`, a vector under `embedding_input`; `modality` says whether it is pictures or
captions that are searched. `clip-retrieval back` by itself knows no architecture of ours, leaves towers in training
mode, listens on every interface and fetches any address it is asked to. Here it gets the scorer in eval mode, listens
on the loopback interface, and fetches nothing. Where the scorer is a plain ViT that open_clip knows by name, its own
command serves the index as well, from the root of the project:

    clip-retrieval back --indices_paths data/index/indices_paths.json --use_jit False --enable_mclip_option False \
        --provide_aesthetic_embeddings False --clip_model open_clip:ARCH/models/scorer/open_clip_model.safetensors
"""

import sys
import tempfile
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

from lineage import files, stage
from pipelines import inference
from pipelines.index import METADATA, NAME


def main(
    index: Path,
    scorer: Path,
    port: Annotated[int, typer.Option(help="TCP port to listen on.")] = 1234,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 lets everybody in.")] = "127.0.0.1",
) -> None:
    """Answers queries until it is stopped."""
    for name in ("image.index", "text.index", "metadata"):
        if not (index / name).exists():
            raise FileNotFoundError(f"{index / name}: no such file; `dvc repro index` makes the index")
    towers = inference.load(scorer, "cpu")
    back = clip_back(towers, host)
    with tempfile.TemporaryDirectory() as folder:
        paths = Path(folder) / "indices_paths.json"
        files.write_json(paths, {NAME: index.absolute().as_posix()})  # where it lies now, not where it was made
        back(
            str(paths),
            port=port,
            columns_to_return=METADATA.names,
            enable_mclip_option=False,
            provide_aesthetic_embeddings=False,
            use_jit=False,
        )


def clip_back(towers: inference.Scorer, host: str) -> Any:
    """Returns clip-retrieval's `clip_back` with these towers, listening on `host`, fetching nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import all_clip
        import clip_retrieval
        from flask import Flask

    all_clip.load_clip = lambda *_, **__: towers[:3]  # its own would load them in training mode
    sys.modules["clip_retrieval.clip_back"].download_image = _refuse  # type: ignore[attr-defined]
    run = Flask.run
    Flask.run = lambda app, **given: run(app, **{**given, "host": host})  # type: ignore[method-assign, misc]
    return clip_retrieval.clip_back


def _refuse(url: str) -> Any:
    """Keeps the server from fetching what a stranger asks for: the gateway alone meets the web."""
    from werkzeug.exceptions import BadRequest

    raise BadRequest(f"{url}: this server fetches nothing; send the picture itself, as `image`")


if __name__ == "__main__":
    stage.command(main)
