import dataclasses
from collections import Counter

from pipelines.demo import captions
from tests.pipelines.demo.test_emoji import drawing

WORDY = dataclasses.replace(
    drawing("1F600"),
    name="grinning face",
    unicode_name="face with a grin",
    short_name="grin",
    tags=("happy", "smile", "teeth", "cheerful", "laugh"),
    subcategory="face-smiling",
)


def test_captions_come_in_every_style_and_mostly_hold_the_name() -> None:
    texts = [captions.caption(WORDY, 7, str(number)) for number in range(2000)]
    assert sum(WORDY.name in text for text in texts) / len(texts) > 0.75
    seen = Counter(texts)
    for style in (
        "grinning face",
        "an emoji of grinning face",
        "grinning face, face smiling",
        "face with a grin",
        "grin",
    ):
        assert seen[style] > 50
    assert any(text.startswith("grinning face, ") and text.count(",") == 2 for text in texts)
    assert any("grinning" not in text and text.count(",") == 3 for text in texts)


def test_the_same_seed_and_occasion_give_the_same_caption() -> None:
    assert captions.caption(WORDY, 7, "a") == captions.caption(WORDY, 7, "a")
    assert len({captions.caption(WORDY, seed, "a") for seed in range(50)}) > 3


def test_a_drawing_of_few_words_still_gets_a_caption_that_no_rule_drops() -> None:
    bare = dataclasses.replace(drawing("1F192", subcategory=""), name="vs", tags=())
    for number in range(100):
        assert captions.caption(bare, 1, str(number)) == "an emoji of vs"


def test_the_other_caption_is_another_one() -> None:
    for number in range(50):
        taken = captions.caption(WORDY, number)
        assert captions.other_caption(WORDY, number, taken) != taken
    bare = dataclasses.replace(drawing("1F192", subcategory=""), name="vs", tags=())
    assert captions.other_caption(bare, 1, "an emoji of vs") == "a picture of vs"
