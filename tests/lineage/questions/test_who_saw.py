"""who-saw names every pair, model, count and metric a subject reached, at the revision asked and at older ones."""

import json
from pathlib import Path
from typing import Any

import pytest

from lineage.questions import holdings, subjects, who_saw
from lineage.questions.holdings import Holdings, NotHereError
from tests.lineage.questions.small import sha, uid

FOX = "http://a.test/1.png"


def asked(held: Holdings, text: str, **options: Any) -> dict[str, Any]:
    return who_saw.answer(who_saw.reached(subjects.parse(text, None, held.root), held), **options)


def test_a_link_with_all_it_reached(first: Holdings) -> None:
    told = asked(first, FOX)
    assert (told["rows"], told["kept"], told["dropped"]) == (2, 1, {"seen_before": 1})
    assert told["snapshots"] == {"s1": 1, "s2": 1}
    assert told["data_set"]["digest"] == "d" * 64
    assert [(seen["model"], seen["pairs"], seen["times"]) for seen in told["models"]] == [
        ("clip-0", 1, 11),
        ("scorer", 1, 4),
    ]
    clip, scorer = told["models"]
    assert clip["of_all"] == 11 / 21
    assert clip["metrics"]["path"] == "results/clip-0/metrics.json"
    assert clip["metrics"]["digest"] == first.digest("results/clip-0/metrics.json")
    assert scorer["metrics"] is None
    kept, again = told["pairs"]
    assert kept["times"] == {"clip-0": 11, "scorer": 4}
    assert (kept["shard"], kept["key"]) == ("train/00000.tar", uid("s1", 1))
    assert (again["snapshot"], again["reason"], again["times"]) == ("s2", "seen_before", {})
    assert again["duplicate_of"] == uid("s1", 1)


def test_each_revision_has_its_own_answer(first: Holdings, second: Holdings) -> None:
    assert [seen["times"] for seen in asked(first, FOX)["models"]] == [11, 4]
    told = asked(second, FOX)
    assert (told["models"], told["data_set"], told["dropped"]) == ([], None, {"opted_out": 1, "seen_before": 1})


def test_a_failed_pair_reached_nothing(second: Holdings) -> None:
    told = asked(second, "http://b.test/gone.png")
    assert (told["rows"], told["dropped"], told["models"]) == (1, {"http_404": 1}, [])


def test_what_no_list_has_is_nowhere(second: Holdings) -> None:
    told = asked(second, "http://nobody.test/")
    assert (told["rows"], told["models"], told["pairs"], told["data_set"]) == (0, [], [], None)


def test_a_domain_is_counted_whole_and_listed_in_part(first: Holdings) -> None:
    told = asked(first, "a.test", most=2)
    assert (told["rows"], len(told["pairs"]), told["left_out"]) == (3, 2, 1)
    assert {seen["model"]: seen["times"] for seen in told["models"]} == {"clip-0": 11, "scorer": 7}


def test_bytes_are_found_under_every_link(first: Holdings) -> None:
    told = asked(first, sha("picture 3"))
    assert [(pair["snapshot"], pair["reason"]) for pair in told["pairs"]] == [("s1", "kept"), ("s2", "duplicate_exact")]


def test_a_look_alike_is_told_with_its_distance(first: Holdings) -> None:
    picture = subjects.Subject(kind="picture", text="x.png", digest=sha("unknown"), look=0xFF00 ^ 0b11)
    told = who_saw.answer(who_saw.reached(picture, first, near_bits=2))
    assert told["by"] == {"phash": 2}
    assert {(pair["uid"], pair["distance"]) for pair in told["pairs"]} == {(uid("s1", 3), 2), (uid("s2", 5), 2)}
    exact = subjects.Subject(kind="picture", text="x.png", digest=sha("picture 3"), look=0)
    assert who_saw.answer(who_saw.reached(exact, first))["by"] == {"sha256": 2}


def test_history_tells_every_state_once(laid_down: Path, second: Holdings) -> None:
    subject = subjects.parse(FOX, None, laid_down)
    answers = list(who_saw.everywhere(subject, second, holdings.history(laid_down)))
    assert [len(told["models"]) for _, told in answers if isinstance(told, dict)] == [0, 2]


def test_what_is_not_here_is_said_and_never_guessed(first: Holdings, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = first.digest("data/audit/exposures/clip-0/s1.npy")
    from lineage import dag

    place = dag.cache_place
    monkeypatch.setattr(
        dag, "cache_place", lambda root, digest: Path("/nowhere") if digest == lost else place(root, digest)
    )
    with pytest.raises(NotHereError, match=r"exposures/clip-0/s1\.npy: its bytes in \w+ are not here; `dvc pull"):
        asked(first, FOX)


def test_answers_are_json(second: Holdings) -> None:
    assert json.loads(holdings.dumped(asked(second, "a.test")))["rows"] == 3
