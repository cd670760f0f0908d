"""A small `node_modules` in the form of the real one: coloured shapes instead of emoji."""

import io
import json
from pathlib import Path

from PIL import Image, ImageDraw

from pipelines.demo import emoji

FIRST_CODE = 0x1F600
SUBGROUPS = (("smileys-emotion", "face-smiling"), ("animals-nature", "animal-bird"), ("objects", "tool"))
TONES = ("1F3FB", "1F3FF")


def lay_packages(packages: Path, num_emoji: int) -> None:
    """Writes packages of `num_emoji` emoji, every fifth with two skin tones, every sixth recent, and some oddities."""
    entries = [_entry(f"{FIRST_CODE + number:X}", number) for number in range(num_emoji)]
    entries += [
        _entry(f"{FIRST_CODE + number:X}-{tone}", number, tone) for number in range(0, num_emoji, 5) for tone in TONES
    ]
    entries.append({**_entry("1F3FB", num_emoji), "group": "component", "subgroups": "skin-tone"})
    entries.append({**_entry("E000", num_emoji + 1), "group": "extras-openmoji", "subgroups": "brand"})
    entries.append({**_entry("E001", num_emoji + 2), "group": "extras-openmoji", "subgroups": "food-drink"})
    _write(packages / "openmoji/data/openmoji.json", json.dumps(entries).encode())
    words = [
        {"unified": entry["hexcode"], "name": f"THING {entry['hexcode']}", "short_name": f"thing_{entry['hexcode']}"}
        for entry in entries
    ]
    _write(packages / "emoji-datasource-google/emoji.json", json.dumps(words).encode())
    for number, entry in enumerate(entries):
        _lay_pictures(packages, str(entry["hexcode"]), number)
    for name, version in emoji.PACKAGES.items():
        _write(packages / name / "package.json", json.dumps({"name": name, "version": version}).encode())


def shape(number: int, side_px: int, salt: int = 0) -> Image.Image:
    """Returns a picture with an alpha channel that no other number and salt has."""
    image = Image.new("RGBA", (side_px, side_px))
    draw = ImageDraw.Draw(image)
    colour = (37 * number % 256, 91 * (number + salt) % 256, 53 * (number // 7 + 3 * salt) % 256, 255)
    inset = 2 + (number + salt) % (side_px // 4)
    draw.ellipse((inset, inset, side_px - inset, side_px - 4), fill=colour)
    draw.line((0, number % side_px, side_px, (number * 7 + salt) % side_px), fill=(0, 0, 0, 255), width=3)
    return image


def _entry(hexcode: str, number: int, tone: str = "") -> dict[str, object]:
    group, subgroup = SUBGROUPS[number % len(SUBGROUPS)]
    return {
        **{"hexcode": hexcode, "group": group, "subgroups": subgroup, "annotation": f"thing number {number}{tone}"},
        **{"tags": "round, coloured, small, shape", "openmoji_tags": "drawing", "openmoji_date": "2018-04-18"},
        **{"unicode": 13 if number % 6 == 0 else 1, "skintone": 1 if tone else "", "skintone_combination": ""},
    }


def _lay_pictures(packages: Path, hexcode: str, number: int) -> None:
    for salt, vendor in enumerate(("google", "twitter")):
        folder = packages / f"emoji-datasource-{vendor}/img/{vendor}/64"
        _write(folder / f"{hexcode.lower()}.png", _bytes(shape(number, 64, salt), "PNG"))
    fluent = packages / f"@lobehub/fluent-emoji-3d/assets/{hexcode.lower()}.webp"
    _write(fluent, _bytes(shape(number, 128, 5), "WEBP"))
    for kind, fill in (("color", f"#{(number * 7919) % 0xFFFFFF:06x}"), ("black", "none")):
        svg = (
            f'<svg viewBox="0 0 72 72" xmlns="http://www.w3.org/2000/svg"><circle cx="36" cy="{20 + number % 30}" '
            f'r="{5 + number % 23}" fill="{fill}" stroke="#000000" stroke-width="{1 + number % 5}"/></svg>'
        )
        _write(packages / f"openmoji/{kind}/svg/{hexcode}.svg", svg.encode())


def _bytes(image: Image.Image, encoding: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, encoding, lossless=True) if encoding == "WEBP" else image.save(buffer, encoding)
    return buffer.getvalue()


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
