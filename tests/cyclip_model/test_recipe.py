"""Recipes go into params.yaml: each of ours, and what they leave as it was."""

import subprocess
import sys
from pathlib import Path

import pytest

from cyclip_model import recipe
from lineage import params

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "params.yaml").read_text()


@pytest.mark.parametrize("name", recipe.names())
def test_every_recipe_makes_a_params_file_that_train_takes(name: str, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(recipe.applied(recipe.asked(name), TEXT))
    recipe.check(tmp_path / "params.yaml")
    assert recipe.path_of(name).read_text().startswith("# ")


def test_what_is_not_named_keeps_value_place_and_comment() -> None:
    assert recipe.applied({}, TEXT) == TEXT
    made = recipe.applied({"train.epochs": 20, "seeds": [0, 1]}, TEXT)
    changed = [(a, b) for a, b in zip(TEXT.splitlines(), made.splitlines(), strict=True) if a != b]
    assert [(a.split("#")[1], b.split("#")[1]) for a, b in changed] == [(a.split("#")[1],) * 2 for a, _ in changed]
    assert [b.split("#")[0].strip() for _, b in changed] == ["seeds: [0, 1]", "epochs: 20"]


def test_a_setting_takes_the_rest_from_its_objective() -> None:
    changes = {"losses.nclip_few": {"objective": "nclip", "temperature": 0.2, "head.num_clusters": 16}}
    losses = params.parse_yaml(recipe.applied(changes, TEXT))["losses"]
    assert losses["nclip_few"] == {
        "objective": "nclip",
        **losses["nclip"],
        "temperature": 0.2,
        "head": {**losses["nclip"]["head"], "num_clusters": 16},
    }
    assert losses["nclip"] == params.parse_yaml(TEXT)["losses"]["nclip"]


def test_mistakes_name_their_key() -> None:
    with pytest.raises(ValueError, match=r"recipe: losses.x: params.yaml has no section losses.simclr"):
        recipe.applied({"losses.x": {"objective": "simclr"}}, TEXT)
    with pytest.raises(ValueError, match=r"recipe: train.epochs.first: train.epochs is no section"):
        recipe.applied({"train.epochs.first": 1}, TEXT)


def test_the_command_lists_recipes_and_leaves_params_alone_on_a_mistake(tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "cyclip_model.recipe", *arguments]
        return subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)

    assert [line.split()[0] for line in run().stdout.splitlines()] == recipe.names()
    (tmp_path / "params.yaml").write_text(TEXT)
    assert run("study").stdout.startswith("params.yaml: set objectives, seeds, train.epochs; `git")
    assert params.seeds(tmp_path / "params.yaml") == [0, 1, 2]
    assert run("lambda", "train.epochs=7", "seeds=[3]").returncode == 0
    content = params.read(tmp_path / "params.yaml")
    assert (content["train"]["epochs"], content["seeds"]) == (7, [3])
    assert content["losses"]["cyclip_l4"]["lambda_in_modal"] == 4.0
    broken = recipe.applied({"train.batch_size": "many"}, TEXT)
    (tmp_path / "params.yaml").write_text(broken)
    refused = run("study")
    assert (refused.returncode, (tmp_path / "params.yaml").read_text()) == (1, broken)
    assert "train.batch_size must be an integer" in refused.stderr


def test_the_last_word_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(TEXT)
    recipe.main(["train.epochs=8", "cyclip-cc3m", "train.epochs=9"])
    content = params.read(tmp_path / "params.yaml")["train"]
    assert (content["epochs"], content["batch_size"]) == (9, 128)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("train.betas=[0.9", r"train.betas=\[0.9: no YAML"),
        ("losses.mine={objective: [a]}", r"has no section losses.\['a'\]"),
        ("losses.mine={objective: cyclip, lambda_x: 1}", r"with this, params.yaml: unknown key losses.mine.lambda_x"),
        ("loader.cache=disc", r"with this, params.yaml: loader.cache must be one of"),
        ("seeds=[]", r"seeds is empty: there is no model to speak of"),
        ("seeds=[0, 0]", r"seeds lists a seed twice"),
    ],
)
def test_words_with_mistakes_change_nothing(
    word: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(TEXT)
    with pytest.raises(ValueError, match=said):
        recipe.main([word])
    assert (tmp_path / "params.yaml").read_text() == TEXT
