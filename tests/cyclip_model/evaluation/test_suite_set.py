"""The suite's prompts, and its classifiers with and without a category."""

from pathlib import Path

import pytest
import torch

from cyclip_model import benchmarks
from cyclip_model.benchmarks import BenchmarksConfig
from cyclip_model.evaluation import suite, suite_set
from cyclip_model.evaluation.encoder import Encoder
from cyclip_model.evaluation.suite_set import add_restricted, fill, prompts, spoken
from cyclip_model.model import towers
from tests.cyclip_model import small_set


def test_a_category_the_set_lacks_is_refused(tmp_path: Path) -> None:
    source = small_set.write_set(tmp_path / "emoji")
    benchmarks.build(source, tmp_path / "data/benchmarks/emoji", BenchmarksConfig(max_pixels=4096))
    loaded = towers.build(small_set.MODEL_CFG, small_set.PREPROCESS_CFG, seed=0)
    with pytest.raises(ValueError, match=r"without_category: .* has no category 'food'; it has flags, shapes, strokes"):
        suite_set.encode_set(Encoder(loaded, None, 16), tmp_path / "data/benchmarks/emoji", "food")


def test_an_absent_benchmark_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="benchmarks@emoji"):
        suite_set.read_set(tmp_path / "emoji")


def test_prompts_fill_templates_with_names_and_members() -> None:
    assert fill(["{}", "an emoji of {}"], ["cat"]) == ["cat", "an emoji of cat"]
    assert spoken("face-smiling_big") == "face smiling big"
    described = {
        "templates": ["a {}"],
        "names": ["cat", "cow"],
        "subcategories": {"animal-mammal": {"category": "animals", "names": ["cat"]}},
        "categories": {"animals": {"names": ["cat"]}},
    }
    found = prompts(described)
    assert found["name"]["names"] == {"cat": ["a cat"], "cow": ["a cow"]}
    assert found["subcategory"]["prompt"] == {"animal-mammal": ["a animal mammal"]}
    assert found["category"]["members"] == {"animals": ["a cat"]}


def test_restricted_spaces_leave_the_category_out() -> None:
    vectors = torch.eye(2).numpy()
    spaces = {
        "category": {"prompt": suite.Space(classes=["animals", "flags"], vectors=vectors)},
        "subcategory": {"prompt": suite.Space(classes=["country-flag", "mammal"], vectors=vectors)},
    }
    found = add_restricted(spaces, {"country-flag": "flags", "mammal": "animals"}, "flags")
    assert found["category"]["prompt_without_flags"].classes == ["animals"]
    assert found["subcategory"]["prompt_without_flags"].classes == ["mammal"]
    assert found["subcategory"]["prompt_without_flags"].vectors.tolist() == [[0.0, 1.0]]
