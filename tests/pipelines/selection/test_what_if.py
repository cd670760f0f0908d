"""What if: the stage's own fold with another recipe, nothing written, held against today's selection."""

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from lineage import params
from pipelines import rules, select
from pipelines.selection import what_if
from tests.builders import PARAMS, contents, enter, make_signals, write_params
from tests.pipelines.snapshots import Row, failed, sha, uid, write_roots, write_snapshot
from tests.pipelines.test_select import ARGUMENTS

DATA = Path("data")
RULES: list[dict[str, Any]] = [
    {"rule": "side", "min_px": 8},
    {"rule": "caption_length", "min_chars": 3, "max_chars": 40},
    {"rule": "exact", "same_image_captions": "keep_one"},
]


def test_keys_change_and_rules_go() -> None:
    found = what_if.altered(RULES, ["side.min_px=9", "exact.same_image_captions=keep_all"], ["caption_length"])
    assert found == [{"rule": "side", "min_px": 9}, {"rule": "exact", "same_image_captions": "keep_all"}]
    assert RULES[0] == {"rule": "side", "min_px": 8}
    assert what_if.altered(RULES, ["side.drop=true"], ["exact"]) == [RULES[1]]
    assert what_if.altered(RULES, ["side.drop=false"], []) == RULES
    labelled: list[Row] = [{**RULES[0], "as": "small"}, RULES[0]]
    assert what_if.altered(labelled, ["small.min_px=1"], ["side"]) == [{**labelled[0], "min_px": 1}]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("side=8", r"--what-if side=8: write it as RULE.KEY=VALUE"),
        ("side.min_px", r"write it as RULE.KEY=VALUE"),
        ("side.min_px=[", r"--what-if side.min_px=\[: '\[' is no YAML value"),
        ("side.drop=yes", r"--what-if side.drop=yes: drop is true or false, not yes"),
        ("sides.min_px=8", r"the recipe has no rule 'sides'; it has: side, caption_length, exact"),
    ],
)
def test_a_change_of_another_form_is_told(change: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        what_if.altered(RULES, [change], [])


def test_a_wrong_key_or_value_is_told_as_in_params() -> None:
    for change, words in (
        ("side.max_px=8", "unknown key select.rules.0..max_px"),
        ("side.min_px=x", "must be an integer"),
    ):
        with pytest.raises(ValueError, match=words):
            rules.parse(what_if.altered(RULES, [change], []))


def test_the_command_line_tells_the_two_forms_apart() -> None:
    assert what_if.is_asked(["--what-if", "side.min_px=8"])
    assert what_if.is_asked(["--json", "--without=side"])
    assert not what_if.is_asked(["data/signals", "data/what-if"])
    assert not what_if.is_asked(["--help"])


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    enter(tmp_path, monkeypatch)
    write_roots(DATA)
    rows = [
        make_signals(uid(1), sha(1), width=9, height=9, host="b.test", language="de", language_probability=0.5),
        make_signals(uid(2), sha(1), width=20, caption_chars=12),
        make_signals(uid(3), sha(3), width=7),
        failed(4, "http_404"),
    ]
    write_snapshot(DATA, "s1", rows)
    write_snapshot(DATA, "s2", [make_signals(uid(5), sha(1), width=7, height=60), make_signals(uid(6), sha(6))])
    write_params(snapshots=["s1", "s2"], sets=[], select={"rules": RULES})
    for name in ("test_embeddings", "benchmarks"):
        (DATA / name).mkdir()
    select.main(*ARGUMENTS)


def report(changes: list[str], without: list[str]) -> dict[str, Any]:
    config = params.load("select", rules.SelectConfig)
    recipe = rules.parse(what_if.altered(config.rules, changes, without))
    return what_if.compare(recipe, config, ["s1", "s2"], DATA)


@pytest.mark.usefixtures("project")
def test_yield_overlap_and_groups() -> None:
    names = ("rows", "kept_today", "kept_then", "both", "only_today", "only_then")
    same = report([], [])
    assert [tuple(found[name] for name in names) for found in same["snapshots"].values()] == [
        (4, 1, 1, 1, 0, 0),
        (2, 1, 1, 1, 0, 0),
    ]
    # without the bound on the side 3 stays; then 2 goes by its length, so that 1 stays instead
    found = report(["caption_length.min_chars=15"], ["side"])
    assert [tuple(one[name] for name in names) for one in found["snapshots"].values()] == [
        (4, 1, 2, 0, 1, 2),
        (2, 1, 1, 1, 0, 0),  # 5 has the bytes of 1, which stays then
    ]
    assert found["dropped_by"] == {
        "caption_length": {"today": 0, "then": 1},
        "download": {"today": 1, "then": 1},
        "exact": {"today": 1, "then": 1},
        "side": {"today": 2, "then": 0},
    }
    assert found["kept_by"]["language"] == {"de": {"today": 0, "then": 1}, "en": {"today": 2, "then": 2}}
    assert found["kept_by"]["host"] == {"a.test": {"today": 2, "then": 2}, "b.test": {"today": 0, "then": 1}}
    assert found["kept_by"]["caption_length"] == {
        "10 to 19": {"today": 1, "then": 0},
        "20 to 39": {"today": 1, "then": 3},
    }


@pytest.mark.usefixtures("project")
def test_the_stage_with_the_other_recipe_keeps_what_was_foretold() -> None:
    foretold = report(["side.min_px=9"], ["exact"])["snapshots"]
    recipe = what_if.altered(RULES, ["side.min_px=9"], ["exact"])
    write_params(snapshots=["s1", "s2"], sets=[], select={"rules": recipe})
    select.main(*ARGUMENTS)
    now = report([], [])["snapshots"]
    assert [found["kept_today"] for found in now.values()] == [found["kept_then"] for found in foretold.values()]
    assert foretold["s1"]["kept_then"] != foretold["s1"]["kept_today"]


@pytest.mark.usefixtures("project")
def test_the_command_writes_nothing() -> None:
    before = contents(Path())
    command = [sys.executable, "-m", "pipelines.select", "--what-if", "side.min_px=7", "--without", "exact"]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["changes"] == {"what_if": ["side.min_px=7"], "without": ["exact"]}
    assert found["snapshots"]["s1"]["kept_then"] == 3
    assert "3" in subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert contents(Path()) == before
    wrong = subprocess.run([*command[:3], "--without", "sides"], capture_output=True, text=True)
    assert (wrong.returncode, wrong.stderr.count("\n")) == (1, 1)
    assert "error: the recipe has no rule 'sides'" in wrong.stderr
    shutil.rmtree("data/selection")
    wrong = subprocess.run(command, capture_output=True, text=True)
    assert (wrong.returncode, wrong.stderr.count("\n")) == (1, 1)


def test_tables_hold_no_markup_from_the_web() -> None:
    console = Console(width=100, record=True, file=io.StringIO())
    changed = {"today": 2, "then": 1}
    found = {
        "snapshots": {"s1": dict.fromkeys(("rows", "kept_today", "kept_then", "both", "only_today", "only_then"), 7)},
        "dropped_by": {"side": changed},
        "kept_by": {"host": {"[red]x[/red].test\x1b[2J": changed}, "tld": {"test": {"today": 1, "then": 1}}},
    }
    what_if.show(found, console)
    text = console.export_text()
    assert "[red]x[/red].test?[2J" in text
    assert "kept by tld: no change" in text
    assert "-1 (-50.0%)" in text


def test_builders_recipe_is_used() -> None:
    assert what_if.altered(PARAMS["select"]["rules"], [], ["exact"])[-1]["rule"] == "language"
