"""The bill of materials: valid by the library's strict schema, models with cards, equal bytes, what is missing said."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.lineage.conftest import call
from tests.lineage.exports import small
from tests.lineage.exports.conftest import Export

Document = dict[str, Any]


def bill(export: Export, *args: str, **more: Any) -> Document:
    done = export("bom", *args, **more)
    assert done.returncode == 0, done.stderr
    problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(done.stdout)
    assert problem is None, problem
    found: Document = json.loads(done.stdout)
    return found


def components(found: Document, kind: str) -> dict[str, Document]:
    return {entry["bom-ref"]: entry for entry in found["components"] if entry["type"] == kind}


def depends(found: Document) -> dict[str, list[str]]:
    return {entry["ref"]: entry.get("dependsOn", []) for entry in found["dependencies"]}


def properties(entry: Document) -> dict[str, str]:
    return {item["name"]: item["value"] for item in entry["properties"]}


def test_the_validator_refuses_what_the_schema_does_not_know(export: Export) -> None:
    found = bill(export)
    model = components(found, "machine-learning-model")["models/clip-0"]
    model["modelCard"]["made_up"] = 1
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(found)) is not None


def test_a_model_has_its_hashes_objective_params_data_and_metrics(checkout: Path, export: Export) -> None:
    models = components(bill(export), "machine-learning-model")
    assert list(models) == ["models/clip-0", "models/clip-1", "models/scorer"]
    model = models["models/clip-0"]
    weights = (checkout / "models/clip-0/open_clip_model.safetensors").read_bytes()
    hashes = {entry["alg"]: entry["content"] for entry in model["hashes"]}
    assert hashes["SHA-256"] == hashlib.sha256(weights).hexdigest()
    assert hashes["MD5"] == hashlib.md5(weights, usedforsecurity=False).hexdigest()
    card = model["modelCard"]
    assert card["modelParameters"]["datasets"] == [{"ref": "data/dataset"}]
    assert card["modelParameters"]["modelArchitecture"] == "tiny"
    assert card["quantitativeAnalysis"]["performanceMetrics"] == [
        {"type": "category.members.top_1", "value": "0.5", "slice": "emoji/novel"}
    ]
    told = properties(card)
    assert (told["clipline:objective"], told["clipline:seed"]) == ("clip", "0")
    assert told["clipline:params.losses.clip.weight"] == "1.0"
    assert told["clipline:dataset.digest"] == "d" * 64
    assert told["clipline:commit"] == small.COMMIT
    assert "clipline:commit" not in properties(models[small.UNATTESTED.replace("train@", "models/")]["modelCard"])
    assert "quantitativeAnalysis" not in models["models/scorer"]["modelCard"]


def test_data_and_libraries_are_components_with_digests(export: Export) -> None:
    found = bill(export)
    data = components(found, "data")
    assert list(data) == ["data/dataset", "data/lists/s1"]
    assert data["data/dataset"]["version"] == "d" * 64
    assert data["data/lists/s1"]["data"][0]["contents"]["properties"][0] == {"name": "clipline:rows_in", "value": "2"}
    libraries = components(found, "library")
    assert list(libraries) == ["pkg:pypi/numpy@1.26.4", "pkg:pypi/torch@2.14.1"]
    assert libraries["pkg:pypi/numpy@1.26.4"]["hashes"] == [{"alg": "SHA-256", "content": "a" * 64}]


def test_what_rests_on_what(export: Export) -> None:
    done = export("bom")
    found = depends(json.loads(done.stdout))
    assert found["models/clip-0"] == ["data/dataset", "pkg:pypi/numpy@1.26.4"]
    assert found["models/clip-1"] == ["data/dataset"]
    assert found["models/scorer"] == ["data/lists/s1", "pkg:pypi/numpy@1.26.4"]
    assert found["data/dataset"] == ["data/lists/s1", "models/scorer"]
    assert found["data/lists/s1"] == []
    assert (
        "in another version than requirements.lock has: models/clip-0 (torch 2.0), models/scorer (torch 2.0)"
        in done.stderr
    )


def test_equal_bytes_again_and_from_the_commit_and_no_clock(checkout: Path, export: Export) -> None:
    first = export("bom").stdout
    assert export("bom").stdout == first
    assert export("bom", "--rev", "HEAD").stdout == first
    found = json.loads(first)
    assert found["metadata"]["timestamp"] == "2026-09-21T14:13:30.750000+00:00"  # evaluate's end
    (checkout / "requirements.lock").write_text("numpy==1.26.5\n")
    other = bill(export)
    assert other["serialNumber"] != found["serialNumber"]
    assert export("bom", "--rev", "HEAD").stdout == first


def test_nothing_of_a_row_stands_in_it(export: Export) -> None:
    shown = export("bom").stdout
    assert small.CAPTION not in shown
    assert "pictures.example" not in shown


def test_a_clone_with_manifests_alone_says_what_is_missing(checkout: Path, export: Export, tmp_path: Path) -> None:
    call(tmp_path, "git", "clone", "-q", str(checkout), "clone")
    done = export("bom", "--json", "--out", "bom.json", cwd=tmp_path / "clone")
    assert done.returncode == 0, done.stderr
    left_out = json.loads(done.stdout)["left_out"]
    assert left_out["the digest that names the data set: not here"] == ["data/dataset/root.json"]
    assert left_out["sha256 of weights that are not here"] == ["models/clip-0", "models/clip-1", "models/scorer"]
    assert left_out["metrics: none made, or not here"] == ["models/clip-0", "models/clip-1", "models/scorer"]
    model = components(bill(export, cwd=tmp_path / "clone"), "machine-learning-model")["models/clip-0"]
    assert "hashes" not in model


def test_changed_weights_are_not_vouched_for(checkout: Path, export: Export) -> None:
    digest = small.held(checkout, "models/clip-0/open_clip_model.safetensors")
    digest.unlink()
    (checkout / "models/clip-0/open_clip_model.safetensors").write_text("other")
    done = export("bom")
    model = components(json.loads(done.stdout), "machine-learning-model")["models/clip-0"]
    assert [entry["alg"] for entry in model["hashes"]] == ["MD5"]
    assert "sha256 of weights that are not here: models/clip-0\n" in done.stderr


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (
            lambda root: (root / "requirements.lock").unlink(),
            "error: requirements.lock: no such file in the working tree",
        ),
        (lambda root: _set_root(root, "<script>"), "error: what dvc.lock or a record says makes no CycloneDX 1.6: "),
    ],
)
def test_what_cannot_be_made_is_one_line(checkout: Path, export: Export, break_it: Any, said: str) -> None:
    break_it(checkout)
    done = export("bom")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == 1


def _set_root(root: Path, digest: str) -> None:
    file = root / "data" / "lists" / "s1.dvc"
    file.write_text(f"outs:\n- path: s1\n  md5: {json.dumps(digest)}\n")
