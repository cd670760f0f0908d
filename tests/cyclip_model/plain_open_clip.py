"""Zero-shot naming by open_clip alone: what anyone gets who has the model's folder and not our code."""

import io
import json
from pathlib import Path

import open_clip
import pyarrow.parquet as pq
import torch
from PIL import Image


def naming_accuracy(model: Path, benchmark: Path, part: str, ks: tuple[int, ...]) -> dict[int, float]:
    """Returns top-k accuracies of naming one test part, by the cosines of the two towers."""
    open_clip.add_model_config(model)
    # the flat config holds no preprocessing: ours is open_clip's default
    loaded, _, preprocess = open_clip.create_model_and_transforms(
        "emoji-tiny", pretrained=str(model / "open_clip_model.safetensors")
    )
    loaded.eval()
    tokenizer = open_clip.get_tokenizer("emoji-tiny")
    classes = json.loads((benchmark / "classes.json").read_text())
    rows = pq.read_table(benchmark / f"test/{part}.parquet").to_pylist()
    with torch.no_grad():
        vectors = []
        for template in classes["templates"]:
            tokens = tokenizer([template.replace("{}", name) for name in classes["names"]])
            # by parts: a call for each name takes ten times as long
            vectors.append(torch.cat([loaded.encode_text(part, normalize=True) for part in tokens.split(128)]))
        weights = torch.nn.functional.normalize(torch.stack(vectors).mean(dim=0), dim=-1)
        pixels = torch.stack([preprocess(Image.open(io.BytesIO(row["image"]))) for row in rows])
        scores = loaded.encode_image(pixels, normalize=True) @ weights.T
    truth = torch.tensor([classes["names"].index(row["name"]) for row in rows])
    hits = {k: (scores.topk(k).indices == truth[:, None]).any(dim=1) for k in ks}
    return {k: hit.double().mean().item() for k, hit in hits.items()}
