"""The part of a style sheet that the book's pages can use.

The theme and its companions bring hundreds of rules for things that this book does not have; a browser reads them all
before it shows the first line. A rule is left out only if it needs a class whose name is nowhere: in no page, and in no
script that could give it to an element.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import tinycss2

_WORD = re.compile(r"[\w-]+")


@dataclass(frozen=True)
class Names:
    """What may stand in a page as a class: whole names, and beginnings to which a script adds the rest."""

    whole: frozenset[str]
    beginnings: tuple[str, ...]

    def have(self, name: str) -> bool:
        """Return whether a page can have an element of this class."""
        return name in self.whole or name.startswith(self.beginnings)


def names_in(texts: Iterable[str]) -> Names:
    """Return every word of pages and scripts: each could be a class.

    >>> found = names_in(['<p class="a b">', "node.className = 'c'; x = 'tip-' + side"])
    >>> [found.have(name) for name in ("a", "c", "tip-left", "d")]
    [True, True, True, False]
    """
    words = {word for text in texts for word in _WORD.findall(text)}
    return Names(frozenset(words), tuple(word for word in words if word.endswith("-") and len(word) > 2))


def used(sheet: str, names: Names) -> str:
    """Return the style sheet without the rules that no element of the pages can meet.

    >>> used(".a .b, .c { top: 0 } @media print { .b { top: 0 } } p:not(.b) { top: 0 }", names_in(['<p class="c">']))
    '.c{ top: 0 }p:not(.b){ top: 0 }'
    """
    rules = tinycss2.parse_stylesheet(sheet, skip_comments=True, skip_whitespace=True)
    return "".join(_kept(rule, names) for rule in rules)


def _kept(rule, names: Names) -> str:
    if rule.type == "qualified-rule":
        selectors = [part for part in _parted(rule.prelude) if all(map(names.have, _needed(part)))]
        whole = ",".join(tinycss2.serialize(part).strip() for part in selectors)
        return f"{whole}{{{tinycss2.serialize(rule.content)}}}" if selectors else ""
    if rule.type == "at-rule" and rule.content is not None and rule.lower_at_keyword in ("media", "supports"):
        inner = tinycss2.parse_rule_list(rule.content, skip_comments=True, skip_whitespace=True)
        body = "".join(_kept(each, names) for each in inner)
        return f"@{rule.at_keyword}{tinycss2.serialize(rule.prelude)}{{{body}}}" if body else ""
    return tinycss2.serialize([rule])


def _parted(prelude: list) -> list[list]:
    """Return a rule's selectors, which commas part; those within brackets are left alone."""
    parts: list[list] = [[]]
    for token in prelude:
        if token.type == "literal" and token.value == ",":
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def _needed(selector: list) -> list[str]:
    """Return the classes that a selector asks for outside of brackets, where they could be meant as "not this"."""
    pairs = zip(selector, selector[1:], strict=False)
    return [after.value for dot, after in pairs if dot.type == "literal" and dot.value == "." and after.type == "ident"]
