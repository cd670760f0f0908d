from pathlib import Path

import pytest

from flows import graph
from flows.graph import Graph

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def real() -> Graph:
    return graph.read(ROOT)


def test_it_has_every_stage_instance_each_after_what_it_needs(real: Graph) -> None:
    assert sorted(real) == sorted(graph.declared(ROOT))
    seen: set[str] = set()
    for name in real:
        assert real.parents[name] <= seen, name
        seen.add(name)
    assert {"select", "measure@s20261001"} <= real.above(["train@clip-0"])
    assert "evaluate@clip-0" not in real.above(["train@clip-0"])


def test_downloads_run_one_after_the_other_trainings_do_not(real: Graph) -> None:
    assert "download@s20261001" in real.parents["download@s20261101"]
    assert not {name for name in real.parents["train@cyclip-0"] if name.startswith("train@")}


def test_targets_are_instances_or_whole_stages(real: Graph) -> None:
    assert set(real.only(["source@s20261001"])) == {"source@s20261001"}
    assert {"download@s20261001", "download@s20261101", "source@s20261001"} <= set(real.only(["download"]))
    assert set(real.only(["train@clip-0"])) < set(real)
    with pytest.raises(ValueError, match=r"targets: dvc.yaml has no stage 'trian'; choose from .*train@clip-0"):
        real.only(["trian"])


def test_json_is_found_behind_other_words() -> None:
    assert graph.parsed('WARNING: something\n{"train@clip-0": []}') == {"train@clip-0": []}


def test_a_folder_without_dvc_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"DVC"):
        graph.read(tmp_path)
