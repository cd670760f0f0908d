"""What a site says about robots and mining, read: robots.txt (RFC 9309), tdmrep.json (W3C TDMRep) and headers.

Python's own urllib.robotparser takes the first rule that matches and knows no wildcards: RFC 9309 2.2.2 wants the most
specific one, and both `*` and `$`.
"""

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import quote

MAX_BYTES = 500 * 1024
"""How much of a robots.txt is read (RFC 9309 2.5: no less than this); what follows does not count."""
_LINE_END = re.compile(r"\r\n|\r|\n")
_TOKEN = re.compile(r"[a-zA-Z_-]+")
_ESCAPED = re.compile(r"%[0-9A-Fa-f]{2}")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_PLAIN = "%:/?#[]@!&'()+,;=" + "~"
"""Characters that stand for themselves in a path; `*` and `$` are special in patterns."""
_OPT_OUTS = frozenset({"noai", "noimageai", "noindex", "noimageindex", "none"})
_WITH_VALUE = frozenset({"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"})
"""Directives of X-Robots-Tag that are written as an agent's name is: before a colon."""
_AGENT = re.compile(r"[a-z0-9_*.-]+")


@dataclasses.dataclass(frozen=True, slots=True)
class Pattern:
    """A path pattern of robots.txt or tdmrep.json: a prefix, `*` for any characters, `$` at its end for the end."""

    parts: tuple[str, ...]
    """What stands between the wildcards, in normal form."""
    anchored: bool
    length: int
    """Characters in normal form: the longer, the more specific."""

    def matches(self, path: str) -> bool:
        """Returns whether the pattern matches a path in normal form; takes time linear in its length."""
        first, *middle = self.parts
        if not path.startswith(first):
            return False
        if not middle:
            return not self.anchored or path == first
        last = middle.pop() if self.anchored else ""
        at = len(first)
        for part in middle:
            found = path.find(part, at)
            if found < 0:
                return False
            at = found + len(part)
        return len(path) - len(last) >= at and path.endswith(last)


@dataclasses.dataclass(frozen=True, slots=True)
class Rules:
    """The rules that bind us, in the order of their file."""

    rules: tuple[tuple[Pattern, bool], ...] = ()
    """(pattern, whether it lets us): allow and disallow, or free and reserved."""
    longest: bool = True
    """Whether the longest match decides (robots.txt, letting us among equals), or the first (tdmrep.json)."""

    def allows(self, path: str) -> bool:
        """Returns whether the path with its query, as it stands in the request, may be asked for."""
        normal = _normal(path or "/")
        found = [(pattern.length, allowed) for pattern, allowed in self.rules if pattern.matches(normal)]
        if not found:
            return True
        return max(found)[1] if self.longest else found[0][1]


def parse_robots(body: bytes, agent: str) -> Rules:
    """Returns what robots.txt says to the agent: its own groups, all of them together, or else those for `*`.

    Args:
        agent: the product token, in any case.
    """
    if agent.lower() in (bound := _groups(body)):
        return Rules(tuple(bound[agent.lower()]))
    return Rules(tuple(bound.get("*", ())))


def parse_tdmrep(body: bytes) -> Rules:
    """Returns what tdmrep.json reserves; a file that is no list of rules reserves nothing, nor does a malformed rule.

    "The most specific match is the first in sequence" (TDMRep, section TDM File on the Origin Server).
    """
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return Rules()
    if not isinstance(content, list):
        return Rules()
    return Rules(tuple(_reservations(content)), longest=False)


def opt_outs(values: Sequence[str], agent: str) -> list[str]:
    """Returns the directives against use for learning that bind `agent`, sorted.

    Args:
        values: of every X-Robots-Tag header, each `directive, ...` or `agent: directive, ...`. What stands after an
            agent's name, up to the end of that header or the next name, binds that agent alone; what stands before
            any name binds all.
    """
    found = set()
    for value in values:
        addressed = "*"
        for part in value.lower().split(","):
            name, colon, rest = (word.strip() for word in part.partition(":"))
            if name in _WITH_VALUE:
                continue
            if colon and _AGENT.fullmatch(name):
                addressed = name
            directive = rest if colon else name
            if directive in _OPT_OUTS and addressed in ("*", agent.lower()):
                found.add(directive)
    return sorted(found)


def pattern(text: str) -> Pattern:
    """Returns a pattern as it stands in a file, ready to match."""
    anchored = text.endswith("$")
    parts = tuple(_normal(part) for part in text.removesuffix("$").split("*"))
    return Pattern(parts, anchored, sum(map(len, parts)) + len(parts) - 1 + anchored)


def _groups(body: bytes) -> Mapping[str, list[tuple[Pattern, bool]]]:
    """Returns {agent in lower case: its rules, of all its groups}; lines of other kinds do not part groups."""
    groups: dict[str, list[tuple[Pattern, bool]]] = {}
    agents: list[str] = []
    in_rules = True
    for line in _LINE_END.split(body[:MAX_BYTES].decode("utf-8-sig", "replace")):
        key, colon, value = (part.strip() for part in line.partition("#")[0].partition(":"))
        key = key.lower()
        if key == "user-agent" and colon:
            agents = [] if in_rules else agents
            in_rules = False
            token = _TOKEN.match(value)
            name = "*" if value.startswith("*") else token[0].lower() if token else ""
            agents.append(name)
            groups.setdefault(name, [])
        elif key in ("allow", "disallow") and colon:
            in_rules = True
            if value:  # an empty pattern matches nothing
                for name in agents:
                    groups[name].append((pattern(value), key == "allow"))
    return groups


def _reservations(rules: Iterable[object]) -> Iterable[tuple[Pattern, bool]]:
    for rule in rules:
        if isinstance(rule, dict) and isinstance(rule.get("location"), str) and rule["location"]:
            reserved = str(rule.get("tdm-reservation")).strip()  # 1 by the text, "1" by mistake
            if reserved in ("0", "1"):
                yield pattern(rule["location"]), reserved == "0"


def _normal(path: str) -> str:
    """Returns a path in the one form in which octets are compared (RFC 9309 2.2.2).

    Escaped unreserved characters are unescaped, all that is not a path's own character is escaped, and in the query,
    as in the RFC's second example, `:` and `/` are the same escaped and plain.
    """
    escaped = _ESCAPED.sub(_unescaped, quote(path, safe=_PLAIN, encoding="utf-8", errors="replace"))
    before, mark, query = escaped.partition("?")
    return before + mark + query.replace("%3A", ":").replace("%2F", "/")


def _unescaped(found: re.Match[str]) -> str:
    character = chr(int(found[0][1:], 16))
    return character if character in _UNRESERVED else found[0].upper()
