import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.web import robots
from pipelines.web.robots import parse_robots, parse_tdmrep

RFC_EXAMPLE = b"""
User-Agent: *
Disallow: *.gif$
Disallow: /example/
Allow: /publications/

User-Agent: foobot
Disallow:/
Allow:/example/page.html
Allow:/example/allowed.gif

User-Agent: barbot
User-Agent: bazbot
Disallow: /example/page.html

User-Agent: quxbot
"""


def allows(rules: str, path: str, agent: str = "clipline") -> bool:
    return parse_robots(rules.encode(), agent).allows(path)


@pytest.mark.parametrize(
    ("agent", "path", "allowed"),
    [
        ("otherbot", "/x.gif", False),
        ("otherbot", "/x.gif?a", True),
        ("otherbot", "/example/page.html", False),
        ("otherbot", "/publications/", True),
        ("otherbot", "/publications/x.gif", True),
        ("foobot", "/", False),
        ("foobot", "/example/page.html", True),
        ("foobot", "/example/allowed.gif", True),
        ("foobot", "/publications/", False),
        ("BarBot", "/example/page.html", False),
        ("bazbot", "/example/page.html", False),
        ("bazbot", "/x.gif", True),
        ("quxbot", "/example/page.html", True),
    ],
)
def test_the_simple_example_of_rfc_9309(agent: str, path: str, allowed: bool) -> None:
    assert parse_robots(RFC_EXAMPLE, agent).allows(path) == allowed


def test_the_longest_match_example_of_rfc_9309() -> None:
    rules = "User-Agent: foobot\nAllow: /example/page/\nDisallow: /example/page/disallowed.gif"
    assert allows(rules, "/example/page/x.gif", "foobot")
    assert not allows(rules, "/example/page/disallowed.gif", "foobot")


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("/foo/bar?baz=quz", "/foo/bar?baz=quz"),
        ("/foo/bar?baz=https://foo.bar", "/foo/bar?baz=https%3A%2F%2Ffoo.bar"),
        ("/foo/bar?baz=https%3a%2f%2ffoo.bar", "/foo/bar?baz=https://foo.bar"),
        ("/foo/bar/ツ", "/foo/bar/%E3%83%84"),
        ("/foo/bar/%E3%83%84", "/foo/bar/%e3%83%84"),
        ("/foo/bar/%62%61%7A", "/foo/bar/baz"),
        ("/foo/bar/baz", "/foo/bar/%62%61%7A"),
        ("/path/file-with-a-%2A.html", "/path/file-with-a-*.html"),
        ("/path/foo-%24", "/path/foo-$"),
        ("/a$b", "/a%24bc"),
    ],
)
def test_the_encodings_of_rfc_9309(pattern: str, path: str) -> None:
    assert not allows(f"user-agent: *\ndisallow: {pattern}", path)


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("/", ["/", "/x"], []),
        ("/fish", ["/fish", "/fish.html", "/fish/salmon.html", "/fish.php?id=1"], ["/Fish", "/cat/fish"]),
        ("/fish*", ["/fish", "/fish/x"], ["/cat"]),
        ("/fish/", ["/fish/", "/fish/x"], ["/fish", "/fish.html"]),
        ("/*.php", ["/x.php", "/folder/x.php?p", "/x.php/", "/.phps"], ["/", "/x.PHP"]),
        ("/*.php$", ["/x.php", "/a/x.php"], ["/x.php?p", "/x.php/", "/x.php5"]),
        ("/fish*.php", ["/fish.php", "/fishing/x.php?id"], ["/Fish.php"]),
        ("/a*b*c$", ["/abc", "/a/b/b/c/c"], ["/acb", "/abcd"]),
        ("/a$", ["/a"], ["/ab", "/a/"]),
        ("/aa*a$", ["/aaa"], ["/aa"]),
        ("*", ["/", "/x"], []),
        ("x", [], ["/x"]),
        ("", [], ["/"]),
    ],
)
def test_wildcards_and_ends(pattern: str, matching: list[str], others: list[str]) -> None:
    rules = f"user-agent: *\ndisallow: {pattern}"
    assert [path for path in matching if allows(rules, path)] == []
    assert [path for path in others if not allows(rules, path)] == []


@pytest.mark.parametrize(
    ("rules", "path", "allowed"),
    [
        ("", "/x", True),
        ("user-agent: *\nallow: /p\ndisallow: /", "/page", True),
        ("user-agent: *\nallow: /folder\ndisallow: /folder", "/folder/page", True),
        ("user-agent: *\ndisallow: /folder\nallow: /folder", "/folder/page", True),
        ("user-agent: *\nallow: /page\ndisallow: /*.htm", "/page.htm", False),
        ("user-agent: *\nallow: /$\ndisallow: /", "/", True),
        ("user-agent: *\nallow: /$\ndisallow: /", "/page.htm", False),
        ("disallow: /\nuser-agent: *\ndisallow: /a", "/b", True),
        (
            "user-agent: clipline\ndisallow: /a\n\nuser-agent: x\ndisallow: /\nuser-agent: Clipline\ndisallow: /b",
            "/a",
            False,
        ),
        (
            "user-agent: clipline\ndisallow: /a\n\nuser-agent: x\ndisallow: /\nuser-agent: Clipline\ndisallow: /b",
            "/b",
            False,
        ),
        ("user-agent: clipline\ndisallow: /a\n\nuser-agent: *\ndisallow: /", "/b", True),
        ("user-agent: Clipline/2.0 (x)\ndisallow: /", "/b", False),
        ("user-agent: cliplinebot\ndisallow: /", "/b", True),
        ("user-agent: clip\ndisallow: /", "/b", True),
        ("user-agent: a\ncrawl-delay: 9\nsitemap: http://x/\n\nuser-agent: *\ndisallow: /", "/b", False),
        ("USER-AGENT : *\r\nDisAllow : /b # why\r\n", "/b", False),
        ("user-agent: *\rdisallow: /b", "/b", False),
        ("\ufeffuser-agent: *\ndisallow: /b", "/b", False),
        ("user-agent: *\ndisallow /b\nnonsense\n:\n\0: /", "/b", True),
        ("<!doctype html><p>user-agent: *<br>disallow: /", "/b", True),
        ("user-agent: *\ndisallow: /b", "", True),
    ],
)
def test_groups_and_rules(rules: str, path: str, allowed: bool) -> None:
    assert allows(rules, path) == allowed


def test_what_is_beyond_the_limit_does_not_count() -> None:
    filler = "# " + "x" * robots.MAX_BYTES
    assert allows(f"user-agent: *\n{filler}\ndisallow: /", "/x")
    assert not allows(f"user-agent: *\ndisallow: /\n{filler}", "/x")


def test_hostile_patterns_take_no_time() -> None:
    started = time.monotonic()
    path = "/" + "a" * 2000
    assert allows("user-agent: *\n" + f"disallow: /{'*a' * 1000}b\n" * 200, path)
    assert time.monotonic() - started < 2.0


@given(st.binary(max_size=200))
def test_any_file_can_be_read(body: bytes) -> None:
    parse_robots(b"user-agent: *\n" + body, "clipline").allows("/x")
    parse_tdmrep(body).allows("/x")


@given(st.text(max_size=30), st.text(max_size=30))
def test_a_path_is_matched_by_itself_and_any_of_its_starts(path: str, more: str) -> None:
    plain = path.replace("*", "").replace("$", "")
    assert robots.pattern("/" + plain).matches(robots._normal("/" + plain))
    assert robots.pattern("/" + plain + "*").matches(robots._normal("/" + plain) + robots._normal(more))


TDMREP = [
    {"location": "/directory-a/", "tdm-reservation": 1},
    {"location": "/directory-b/html/", "tdm-reservation": 1, "tdm-policy": "https://provider.example/policy.json"},
    {"location": "/directory-b/images/*.jpg", "tdm-reservation": 0},
    {"location": "/directory-b/", "tdm-reservation": 1},
]


@pytest.mark.parametrize(
    ("path", "free"),
    [
        ("/directory-a/x.pdf", False),
        ("/directory-b/html/x", False),
        ("/directory-b/images/x.jpg", True),
        ("/directory-b/images/x.png", False),
        ("/directory-c/", True),
        ("/Directory-a/", True),
    ],
)
def test_the_first_rule_of_tdmrep_that_matches_decides(path: str, free: bool) -> None:
    assert parse_tdmrep(json.dumps(TDMREP).encode()).allows(path) == free


@pytest.mark.parametrize(
    ("content", "free"),
    [
        ([{"location": "/", "tdm-reservation": 1}], False),
        ([{"location": "/", "tdm-reservation": "1"}], False),
        ([{"location": "/", "tdm-reservation": 0}], True),
        ([{"location": "/", "tdm-reservation": 2}, {"location": "/", "tdm-reservation": 1}], False),
        ([{"location": "/"}], True),
        ([{"tdm-reservation": 1}], True),
        ([{"location": 1, "tdm-reservation": 1}], True),
        ([{"location": "/x$", "tdm-reservation": 1}], False),
        ([{"location": "/y", "tdm-reservation": 1}], True),
        ([1, None, []], True),
        ({"location": "/", "tdm-reservation": 1}, True),
        ([], True),
    ],
)
def test_rules_of_tdmrep(content: object, free: bool) -> None:
    assert parse_tdmrep(json.dumps(content).encode()).allows("/x") == free


@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff\xfe", b"[" * 100_000, b"[{}"])
def test_a_tdmrep_that_is_none_reserves_nothing(body: bytes) -> None:
    assert parse_tdmrep(body).allows("/x")
