import dataclasses
import io
import zlib

import pytest
from PIL import Image, UnidentifiedImageError

from lineage import reasons
from pipelines.demo import artwork, dirt, sentences
from tests.pipelines.tiny_packages import shape

PICTURE = shape(3, 72).convert("RGB")


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


@pytest.mark.parametrize("encoding", ["PNG", "JPEG", "WEBP"])
def test_a_cut_picture_is_still_known_by_its_first_bytes_but_does_not_decode(encoding: artwork.Encoding) -> None:
    whole = artwork.encode(PICTURE, encoding)
    half = dirt.cut(whole)
    assert half[:12] == whole[:12]
    with pytest.raises((OSError, UnidentifiedImageError)):
        opened(half).load()


def test_a_bomb_is_a_small_valid_png_of_the_size_it_declares() -> None:
    small = opened(dirt.bomb(250))
    small.load()
    assert (small.format, small.size, small.getextrema()) == ("PNG", (250, 250), (255, 255))
    content = dirt.bomb(dirt.BOMB_SIDES_PX[0])
    assert len(content) < 100_000
    assert int.from_bytes(content[16:20], "big") == dirt.BOMB_SIDES_PX[0]
    assert content[12:16] == b"IHDR"
    assert int.from_bytes(content[29:33], "big") == zlib.crc32(content[12:29])


def test_icons_and_banners_have_the_sizes_that_rules_look_for() -> None:
    assert opened(dirt.icon(PICTURE)).size == (16, 16)
    banner = opened(dirt.banner([PICTURE, Image.new("RGB", (72, 72), (255, 0, 0))]))
    assert banner.size == (400, 40)
    assert banner.getpixel((60, 20)) == (255, 0, 0)
    assert banner.getpixel((390, 20)) == artwork.WHITE


def test_near_copies_have_other_bytes_and_look_alike() -> None:
    assert opened(dirt.reencoded(PICTURE)).size == (72, 72)
    assert opened(dirt.resized(PICTURE)).size == (61, 61)
    assert len({artwork.encode(PICTURE, "JPEG"), dirt.reencoded(PICTURE), dirt.resized(PICTURE)}) == 3


def test_every_reason_in_the_answer_key_is_in_the_closed_set() -> None:
    for kind, (stage, reason) in dirt.EXPECTED.items():
        assert stage in ("", "source", "download", "measure", "select"), kind
        assert not reason or reason in reasons.ALL, kind
        assert stage or not reason, kind


def test_every_amount_has_its_expectation() -> None:
    assert {field.name for field in dataclasses.fields(dirt.Amounts)} <= set(dirt.EXPECTED)


def test_there_are_sentences_and_addresses_enough() -> None:
    amounts = dirt.Amounts()
    for table, wanted in ((sentences.LATIN, amounts.latin_language), (sentences.OTHER, amounts.other_script)):
        texts = [text for texts in table.values() for text in texts]
        assert len(set(texts)) == len(texts) >= sum(wanted)
        assert len({len(texts) for texts in table.values()}) == 1
    assert len(dirt.NOT_URLS) >= sum(amounts.not_a_url)
    assert max(map(len, dirt.SHORT_CAPTIONS)) <= 2
    assert max(amounts.bomb) <= len(dirt.BOMB_SIDES_PX)


def test_no_dirt_hangs_on_a_few_seconds() -> None:
    assert dirt.SLOW_S >= 60
