"""Recipes: named settings that go into params.yaml, from a paper's training to a study of many.

    python -m cyclip_model.recipe                           # which there are
    python -m cyclip_model.recipe study                     # into params.yaml; `dvc repro` then runs it
    python -m cyclip_model.recipe cyclip-cc3m lambda train.epochs=8     # several, and single keys, one after the other
    git checkout params.yaml                                # and back

A recipe is a YAML file of keys as params.yaml has them, dots descend, and each takes the place of what stood there.
A section losses.NAME with `objective: OTHER` needs to name only what differs from losses.OTHER. `rows` is for plans.
"""

import copy
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from cyclip_model.reporting import results
from cyclip_model.rows.loader import LoaderConfig
from cyclip_model.trainer import training
from cyclip_model.trainer.config import TrainConfig
from lineage import files, params, stage

FOLDER = Path(__file__).parent / "recipes"
_ROWS = "rows"


def path_of(name: str) -> Path:
    """The file of a recipe.

    Raises:
        ValueError: there is no recipe of this name.
    """
    path = FOLDER / f"{name}.yaml"
    if not path.is_file():
        raise ValueError(f"there is no recipe {name!r}; recipes: {', '.join(names())}")
    return path


def names() -> list[str]:
    """All recipes, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def applied(recipe: Mapping[str, Any], text: str) -> str:
    """params.yaml with a recipe in it; what it does not name keeps its value, its place and its comments.

    Raises:
        ValueError: a key descends into what is no mapping, or a setting belongs to an objective without a section.
    """
    yaml = _as_written()
    try:
        content = yaml.load(text)
    except YAMLError as error:
        raise ValueError(f"params.yaml: not valid YAML: {' '.join(str(error).split())}") from None
    for key, value in recipe.items():
        _set(content, key, _whole(content, key, value))
    made = io.StringIO()
    yaml.dump(content, made)
    return made.getvalue()


def _as_written() -> YAML:
    """YAML that comes out as it went in."""
    yaml = YAML()
    yaml.width, yaml.preserve_quotes = 4096, True
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.representer.add_representer(type(None), lambda to, _: to.represent_scalar("tag:yaml.org,2002:null", "null"))
    return yaml


def _whole(content: Any, key: str, value: Any) -> Any:
    """A setting of an objective with all that it leaves to the objective's own section."""
    if not (key.startswith("losses.") and isinstance(value, Mapping) and "objective" in value):
        return value
    base = str(value["objective"])
    if base not in content["losses"]:
        raise ValueError(f"recipe: {key}: params.yaml has no section losses.{base}")
    made: dict[str, Any] = {"objective": base, **copy.deepcopy(params.parse_yaml(_dumped(content["losses"][base])))}
    for name, each in value.items():
        _set(made, name, each)
    return made


def _set(content: Any, key: str, value: Any) -> None:
    *above, last = key.split(".")
    for depth, part in enumerate(above):
        content = content.get(part)
        if not isinstance(content, Mapping):
            raise ValueError(f"recipe: {key}: {'.'.join(above[: depth + 1])} is no section")
    if isinstance(value, list) and isinstance(content.get(last), list):
        content[last][:] = value  # stays on one line where it was
    else:
        content[last] = value  # type: ignore[index]


def _dumped(content: Any) -> str:
    made = io.StringIO()
    YAML().dump(content, made)
    return made.getvalue()


def check(path: Path) -> None:
    """Raises ValueError, naming file and key, if what train reads of a params file has a mistake."""
    params.load("train", TrainConfig, path)
    params.load("loader", LoaderConfig, path)
    objectives, _ = results.listed(path)
    for name in {*objectives, *params.section("losses", path)}:
        training.objective_of(name, path)


def asked(word: str) -> dict[str, Any]:
    """The keys that a word of the command line stands for: a recipe's, or one KEY=VALUE.

    Raises:
        ValueError: there is no such recipe.
    """
    key, is_one, value = word.partition("=")
    text = value if is_one else path_of(word).read_text(encoding="utf-8")
    try:
        found = params.parse_yaml(text)
    except YAMLError as error:
        raise ValueError(f"{word}: no YAML: {' '.join(str(error).split())}") from None
    return {key: found} if is_one else {each: found[each] for each in found if each != _ROWS}


def main(words: Annotated[list[str] | None, typer.Argument(metavar="[RECIPE | KEY=VALUE]...")] = None) -> None:
    """Puts recipes into params.yaml, or lists them."""
    if not words:
        for each in names():
            typer.echo(f"{each:16s}{path_of(each).read_text(encoding='utf-8').splitlines()[0].removeprefix('# ')}")
        return
    recipe: dict[str, Any] = {}
    for word in words:
        for key, value in asked(word).items():
            recipe.pop(key, None)  # the last word counts, and counts last
            recipe[key] = value
    tried = stage.WORK / "recipe" / params.PARAMS.name
    tried.parent.mkdir(parents=True, exist_ok=True)
    files.write_text(tried, applied(recipe, params.PARAMS.read_text(encoding="utf-8")))
    try:
        check(tried)
    except ValueError as error:
        raise ValueError(str(error).replace(str(tried), "with this, params.yaml")) from None
    files.write_text(params.PARAMS, tried.read_text(encoding="utf-8"))
    typer.echo(f"params.yaml: set {', '.join(recipe)}; `git checkout params.yaml` undoes it")


if __name__ == "__main__":
    from cyclip_model.recipe import main  # not __main__.main: what pickles needs an importable name

    stage.command(main)
