# SPDX-License-Identifier: GPL-2.0-or-later
"""One C file: find things in it by name, cut them out neatly.

Kernel and QEMU sources are full of macros that no parser of plain C can know,
so every parse has errors somewhere. The searches therefore start at the leaf
that bears the name and climb, which needs only the surroundings of that leaf
to be understood, and `cut` refuses what the parser has not delimited cleanly.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import tree_sitter_c
from tree_sitter import Language, Node, Parser

_LANGUAGE = Language(tree_sitter_c.language())
_NAMES = frozenset({"identifier", "field_identifier", "type_identifier", "string_content"})
_BLANKS = re.compile(rb"(?:[ \t]*\n)+")
_TRAILER = re.compile(rb"[ \t]*(?:/\*.*?\*/|//[^\n]*)?[ \t]*(?:\n|\Z)", re.DOTALL)


@dataclass(frozen=True)
class Cut:
    """Bytes `start` to `end` of a text, to be replaced by `by`.

    :ivar own_comment: the comment above belongs to it in any case.
    """

    start: int
    end: int
    by: bytes = b""
    own_comment: bool = False


class Unclear(Exception):
    """What was found has a shape that cannot be removed safely; says why."""


class CSource:
    """A parsed C file.

    :param text: its contents.
    """

    def __init__(self, text: bytes) -> None:
        self.text = text
        self.root = Parser(_LANGUAGE).parse(text).root_node

    def leaves(self, name: str, within: Node | None = None) -> Iterator[Node]:
        """The leaves that are `name`, comments not counted.

        :param name: an identifier, or the contents of a string literal.
        :param within: look only inside this node.
        """
        low, high = (within.start_byte, within.end_byte) if within else (0, len(self.text))
        return self.leaves_between(name, low, high)

    def leaves_between(self, name: str, low: int, high: int) -> Iterator[Node]:
        """The same for the bytes from `low` to `high`."""
        word = re.compile(rb"(?<!\w)" + re.escape(name.encode()) + rb"(?!\w)")
        for match in word.finditer(self.text, low, high):
            leaf = self.root.descendant_for_byte_range(*match.span())
            if leaf is None or leaf.type not in _NAMES:
                continue
            if (leaf.start_byte, leaf.end_byte) == match.span():
                yield leaf

    def mentions(self, node: Node | None, words: tuple[str, ...]) -> bool:
        """Whether all of `words` occur in `node`; False without a node."""
        return node is not None and all(any(self.leaves(word, node)) for word in words)

    def function_of(self, node: Node) -> str:
        """Name of the function whose body or head holds `node`; empty if none."""
        function = ancestor(node, "function_definition")
        if function is None:
            return ""
        head = self.text[function.start_byte : body_start(function)]
        match = re.search(rb"(\w+)\s*\([^()]*(?:\([^()]*\)[^()]*)*\)\s*\Z", head)
        return match.group(1).decode() if match else ""

    def errors(self) -> int:
        """How many places the parser did not understand."""
        return sum(1 for node in _walk(self.root) if node.is_error or node.is_missing)

    def comment_above(self, start: int) -> Node | None:
        """The comment that ends on the line before byte `start` and begins its own."""
        line = self._line_start(start)
        before = self.text[:line].rstrip(b" \t\n")
        if self.text[len(before) : line].count(b"\n") != 1 or not before:
            return None
        leaf = self.root.descendant_for_byte_range(len(before) - 1, len(before))
        if leaf is None or leaf.type != "comment" or leaf.end_byte != len(before):
            return None
        head = self.text[self._line_start(leaf.start_byte) : leaf.start_byte]
        return leaf if not head.strip() else None

    def widen(self, cut: Cut, words: re.Pattern[bytes]) -> Cut:
        """Let a cut of code take what belongs to it: lines and comments.

        :param cut: the code itself.
        :param words: a comment that matches speaks of the feature.
        :return: the cut as whole lines where the code has its lines for itself,
            with the comment above it if that is about nothing else.
        """
        start, end = cut.start, cut.end
        line = self._line_start(start)
        trailer = _TRAILER.match(self.text, end)
        if cut.by or self.text[line:start].strip() or trailer is None:
            return cut
        end = trailer.end()
        alone = cut.own_comment or _ends_group(self.text[end:])
        comment = self.comment_above(line)
        while comment is not None and (
            alone or words.search(self.text, comment.start_byte, comment.end_byte)
        ):
            line = self._line_start(comment.start_byte)
            one_line = self.text.startswith(b"//", comment.start_byte)
            comment = self.comment_above(line) if one_line else None
        return Cut(line, end)

    def _line_start(self, position: int) -> int:
        return self.text.rfind(b"\n", 0, position) + 1


def apply(text: bytes, cut: Cut) -> bytes:
    """Carry out one cut and close the gap.

    :param text: contents of a file.
    :param cut: what to take out.
    :return: the new contents: at most one blank line where the cut was, none
        after an opening or before a closing brace, and no `#if` around nothing.
    """
    before, after = text[: cut.start], text[cut.end :]
    if cut.by or not _at_line_start(before):
        return before + cut.by + after
    while True:
        gap = _BLANKS.match(after)
        if gap and _opens(before):
            after = after[gap.end() :]
        if after.lstrip(b" \t").startswith(b"}"):
            before = _drop_blank_end(before)
        opened = re.search(rb"(?:\A|(?<=\n))[ \t]*#[ \t]*if[^\n]*\n\s*\Z", before)
        closed = re.match(rb"\s*#[ \t]*endif[^\n]*\n", after)
        if not (opened and closed):
            return before + after
        before, after = before[: opened.start()], after[closed.end() :]


def ancestor(node: Node, *types: str) -> Node | None:
    """The nearest node of one of `types` that holds `node`, or is it."""
    current: Node | None = node
    while current is not None and current.type not in types:
        current = current.parent
    return current


def body_start(function: Node) -> int:
    """Where the body of a function definition begins.

    :raises Unclear: the parser has not found a body.
    """
    body = function.child_by_field_name("body")
    if body is None:
        raise Unclear("has no body")
    return body.start_byte


def _walk(node: Node) -> Iterator[Node]:
    stack = [node]
    while stack:
        current = stack.pop()
        yield current
        if current.has_error:
            stack.extend(current.children)


def _at_line_start(before: bytes) -> bool:
    return not before or before.endswith(b"\n")


def _opens(before: bytes) -> bool:
    """Whether a blank line after this would be one too many."""
    line = before[before.rfind(b"\n", 0, -1) + 1 :].strip()
    return not line or line.endswith(b"{") or line.startswith((b"#if", b"#el"))


def _drop_blank_end(before: bytes) -> bytes:
    stripped = before.rstrip(b" \t\n")
    return stripped + b"\n" if stripped else b""


def _ends_group(after: bytes) -> bool:
    """Whether a comment above what was cut has nothing left to speak about."""
    line = after.split(b"\n", 1)[0].strip()
    return not line or line.startswith((b"}", b"/*", b"//", b"#e"))
