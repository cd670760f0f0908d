"""params.yaml is read strictly: what is wrong is named by its full key, whatever is in it."""

import dataclasses
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lineage import params


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    width_px: int

    def __post_init__(self) -> None:
        if self.width_px <= 0:
            raise ValueError(f"width_px must be > 0, not {self.width_px}")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    rows: int
    lr: float
    name: str
    fast: bool
    mode: Literal["a", "b"]
    betas: list[float]
    size: Size
    bounds: dict[str, int]
    limit: int | None


GOOD: dict[str, Any] = {
    "rows": 3,
    "lr": 1,
    "name": "x",
    "fast": True,
    "mode": "a",
    "betas": [0.9, 1],
    "size": {"width_px": 5},
    "bounds": {"low": 1},
    "limit": None,
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "params.yaml"


def load(file: Path, **changed: Any) -> Config:
    file.write_text(yaml.safe_dump({"train": {**GOOD, **changed}}))
    return params.load("train", Config, file)


def test_a_section_fills_its_dataclass(file: Path) -> None:
    config = load(file)
    assert config.size == Size(width_px=5)
    assert (config.lr, type(config.lr), config.betas) == (1.0, float, [0.9, 1.0])
    assert load(file, limit=4).limit == 4


def test_numbers_read_as_dvc_reads_them(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text("seeds: 1e-06\nsnapshots: [no, 1_000]\n")
    assert params.read(file) == {"seeds": 1e-06, "snapshots": ["no", 1000]}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"rows": "3"}, "train.rows must be an integer, not '3'"),
        ({"rows": True}, "train.rows must be an integer, not True"),
        ({"rows": 3.0}, "train.rows must be an integer, not 3.0"),
        ({"lr": "fast"}, "train.lr must be a number"),
        ({"lr": False}, "train.lr must be a number"),
        ({"lr": float("nan")}, "train.lr must be a finite number, not nan"),
        ({"betas": [0.9, float("inf")]}, r"train.betas\[1\] must be a finite number"),
        ({"name": 5}, "train.name must be text"),
        ({"fast": 1}, "train.fast must be true or false"),
        ({"mode": "c"}, "train.mode must be one of a, b, not 'c'"),
        ({"mode": []}, "train.mode must be one of"),
        ({"betas": 0.9}, "train.betas must be a list"),
        ({"size": 5}, "train.size must be a mapping"),
        ({"size": {"width_px": 0}}, "train.size: width_px must be > 0, not 0"),
        ({"size": {"width_px": 1, "depth": 2}}, "unknown key train.size.depth; known: width_px"),
        ({"bounds": {"low": "x"}}, "train.bounds.low must be an integer"),
        ({"limit": "x"}, "train.limit must be an integer"),
        ({"typo": 1}, "unknown key train.typo"),
    ],
)
def test_what_is_wrong_is_named_by_its_full_key(file: Path, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        load(file, **changed)
    assert str(caught.value).startswith(str(file))


def test_a_missing_key_or_section_is_named(file: Path) -> None:
    file.write_text("train: {rows: 1}\nlosses: {clip: {}}\n")
    with pytest.raises(ValueError, match=r"train\.lr is missing"):
        params.load("train", Config, file)
    with pytest.raises(ValueError, match=r"losses\.cyclip is missing"):
        params.load("losses.cyclip", Size, file)
    with pytest.raises(ValueError, match=r"losses\.clip\.width_px is missing"):
        params.load("losses.clip", Size, file)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "not valid YAML"),
        ("!!python/object/apply:os.system ['true']", "not valid YAML"),
        ("- 1", "expected a mapping"),
        ("", "expected a mapping"),
        ("tain: {}", "unknown key tain"),
    ],
)
def test_a_file_that_is_no_params_file_is_named(file: Path, text: str, message: str) -> None:
    file.write_text(text)
    with pytest.raises(ValueError, match=message):
        params.read(file)


def test_no_file_is_named(file: Path) -> None:
    with pytest.raises(ValueError, match="no such file; run from the root"):
        params.names("snapshots", file)


JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(alphabet="ab1:-${}\n é", max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
    max_leaves=5,
)


@given(key=st.sampled_from(sorted(GOOD)), value=JSONISH)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_hostile_values_are_refused_by_name_or_have_the_declared_type(file: Path, key: str, value: Any) -> None:
    try:
        config = load(file, **{key: value})
    except ValueError as error:
        assert f"train.{key}" in str(error)
        return
    assert type(config.rows) is int
    assert type(config.lr) is float
    assert type(config.name) is str
    assert type(config.fast) is bool
    assert config.mode in ("a", "b")
    assert all(type(beta) is float for beta in config.betas)
    assert type(config.size.width_px) is int
    assert all(type(bound) is int for bound in config.bounds.values())
    assert config.limit is None or type(config.limit) is int


@given(name=st.text(max_size=40) | st.from_regex(params.NAME_PATTERN))
def test_names_are_safe_in_a_shell_and_a_path(name: str) -> None:
    good = 1 <= len(name) <= 31 and "a" <= name[0] <= "z" and set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_")
    if good:
        assert params.check_name(name) == name
    else:
        with pytest.raises(ValueError, match="is not allowed"):
            params.check_name(name)


@pytest.mark.parametrize("name", [None, 5, True, ["a"], "a\n", "A", "a-b", "a/b", "../a", "$(id)", ""])
def test_a_hostile_name_in_a_list_is_refused(file: Path, name: Any) -> None:
    file.write_text(yaml.safe_dump({"snapshots": ["s1", name]}))
    with pytest.raises(ValueError, match=r"snapshots: .* is not allowed"):
        params.names("snapshots", file)


def test_lists_of_names_and_seeds(file: Path) -> None:
    file.write_text("snapshots: [s1, s2]\nobjectives: [clip, clip]\nsets: emoji\nseeds: [0, 3]\n")
    assert params.names("snapshots", file) == ["s1", "s2"]
    assert params.seeds(file) == [0, 3]
    with pytest.raises(ValueError, match="objectives lists a name twice"):
        params.names("objectives", file)
    with pytest.raises(ValueError, match="sets must be a list"):
        params.names("sets", file)


@pytest.mark.parametrize("seeds", [[-1], [True], ["0"], [0.5], 0])
def test_seeds_are_counting_numbers(file: Path, seeds: Any) -> None:
    file.write_text(yaml.safe_dump({"seeds": seeds}))
    with pytest.raises(ValueError, match="seeds must be a list"):
        params.seeds(file)
