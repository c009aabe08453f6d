# SPDX-License-Identifier: GPL-2.0-or-later
"""How each sort of edit is found in a file: description in, cuts out."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

from tree_sitter import Node

from hptresize.trees.strip.csource import CSource, Cut, Unclear, ancestor, body_start
from hptresize.trees.strip.spec import (
    Assignment,
    Call,
    Define,
    Edit,
    Entry,
    Function,
    IdleInclude,
    If,
    KeepThen,
    Local,
    Member,
    Operand,
    Prototype,
    Struct,
    TraceEvent,
    Typedef,
)

_GOVERNING = frozenset(
    {"if_statement", "else_clause", "for_statement", "while_statement", "do_statement"}
    | {"labeled_statement"}
)


def find(source: CSource, edit: Edit) -> list[Cut]:
    """Find what an edit names.

    :param source: the file.
    :param edit: the thing.
    :return: the cuts that would remove it, one for each place.
    :raises Unclear: it is there, but cannot be delimited safely.
    """
    cuts = _FINDERS[type(edit)](source, edit)
    return list(dict.fromkeys(cuts))


def _define(source: CSource, edit: Define) -> Iterator[Cut]:
    for leaf in source.leaves(edit.name):
        node = leaf.parent
        if node is None or node.type not in {"preproc_def", "preproc_function_def"}:
            continue
        if node.child_by_field_name("name") == leaf:
            yield _whole(source, node)


def _function(source: CSource, edit: Function) -> Iterator[Cut]:
    for leaf in source.leaves(edit.name):
        node = ancestor(leaf, "function_definition")
        if node is None or leaf.start_byte >= body_start(node):
            continue
        if source.function_of(node) != edit.name:
            continue
        text = source.text[node.start_byte : node.end_byte]
        if node.start_point.column or not text.endswith(b"\n}") or b"\n}" in text[:-2]:
            raise Unclear("is not delimited cleanly")
        yield Cut(node.start_byte, node.end_byte, own_comment=True)


def _prototype(source: CSource, edit: Prototype) -> Iterator[Cut]:
    for leaf in source.leaves(edit.name):
        declarator = leaf.parent
        node = ancestor(leaf, "declaration")
        if node is None or declarator is None or source.function_of(node):
            continue
        if declarator.type == "function_declarator":
            yield _whole(source, node)


def _struct(source: CSource, edit: Struct) -> Iterator[Cut]:
    for leaf in source.leaves(edit.name):
        node = leaf.parent
        if node is None or node.type != "struct_specifier":
            continue
        if node.child_by_field_name("body") is None:
            continue
        if node.parent is not None and node.parent.type in {"declaration", "type_definition"}:
            raise Unclear("also declares something")
        semicolon = re.compile(rb"\s*;").match(source.text, node.end_byte)
        if semicolon is None:
            raise Unclear("does not end with a semicolon")
        yield Cut(node.start_byte, semicolon.end(), own_comment=True)


def _typedef(source: CSource, edit: Typedef) -> Iterator[Cut]:
    for leaf in source.leaves(edit.name):
        node = leaf.parent
        if node is None or node.type != "type_definition":
            continue
        if leaf in node.children_by_field_name("declarator"):
            yield _whole(source, node)


def _member(source: CSource, edit: Member) -> Iterator[Cut]:
    for leaf in source.leaves(edit.name):
        node = ancestor(leaf, "field_declaration")
        struct = ancestor(leaf, "struct_specifier")
        name = struct and struct.child_by_field_name("name")
        if leaf.type != "field_identifier" or node is None or name is None:
            continue
        if name.text != edit.struct.encode():
            continue
        if len(node.children_by_field_name("declarator")) != 1:
            raise Unclear("is declared together with others")
        yield _whole(source, node)


def _local(source: CSource, edit: Local) -> Iterator[Cut]:
    for leaf in source.leaves(edit.name):
        node = ancestor(leaf, "declaration", "compound_statement")
        if node is None or node.type != "declaration" or not _is_within(source, leaf, edit.within):
            continue
        declarators = node.children_by_field_name("declarator")
        if leaf not in (_innermost(one) for one in declarators):
            continue
        if len(declarators) != 1:
            raise Unclear("is declared together with others")
        if sum(1 for _ in source.leaves(edit.name, ancestor(node, "function_definition"))) > 1:
            raise Unclear("is used by something else too")
        yield _whole(source, node)


def _entry(source: CSource, edit: Entry) -> Iterator[Cut]:
    for leaf in source.leaves(edit.name):
        node = ancestor(leaf, "initializer_list")
        if node is None or node.parent is None or node.parent.type != "initializer_list":
            continue
        if leaf.parent != node:
            raise Unclear("shares its entry with others")
        comma = re.compile(rb"\s*,").match(source.text, node.end_byte)
        yield Cut(node.start_byte, comma.end() if comma else node.end_byte)


def _operand(source: CSource, edit: Operand) -> Iterator[Cut]:
    """Names in a chain of `|`.

    Such chains are cut up by `#ifdef` in both places that matter, which the
    parser's idea of an expression does not survive. So this looks at the text
    around the name.
    """
    text = source.text
    for leaf in source.leaves(edit.name):
        start, end = leaf.start_byte, leaf.end_byte
        opening = re.search(rb"\w+\([ \t]*\Z", text[:start])
        closing = re.match(rb"[ \t]*\)", text[end:])
        if opening and closing:
            start, end = opening.start(), end + closing.end()
        following = re.match(rb"\s*\|(?!\|)[ \t]*", text[end:])
        leading = re.search(rb"\s*(?<!\|)\|\s*\Z", text[:start])
        if following:
            yield _operand_cut(text, start, end + following.end())
        elif leading:
            yield Cut(leading.start(), end, by=b"")
        elif re.search(rb"=\s*\Z", text[:start]):
            yield Cut(start, end, by=b"0")


def _operand_cut(text: bytes, start: int, end: int) -> Cut:
    """A cut that leaves no blanks at the end of a line, nor an empty line."""
    if not text.startswith(b"\n", end):
        return Cut(start, end)
    kept = text[:start].rstrip(b" \t")
    return Cut(len(kept), end + 1) if kept.endswith(b"\n") else Cut(len(kept), end)


def _if(source: CSource, edit: If) -> Iterator[Cut]:
    for node in _ifs(source, edit):
        if node.child_by_field_name("alternative") is not None:
            raise Unclear("has an else")
        yield _statement(source, node)


def _keep_then(source: CSource, edit: KeepThen) -> Iterator[Cut]:
    for node in _ifs(source, edit):
        then = node.child_by_field_name("consequence")
        if node.child_by_field_name("alternative") is None or then is None:
            raise Unclear("has no else")
        if then.type != "compound_statement" or any(c.type == "declaration" for c in then.children):
            raise Unclear("has a first branch that cannot stand alone")
        line = source.text.rfind(b"\n", 0, node.start_byte) + 1
        indent = source.text[line : node.start_byte].decode()
        inner = source.text[then.start_byte + 1 : then.end_byte - 1].decode().strip("\n")
        kept = textwrap.indent(textwrap.dedent(inner).strip(), indent)
        yield Cut(line, node.end_byte, by=kept.encode())


def _ifs(source: CSource, edit: If) -> Iterator[Node]:
    """The outermost matching `if` statements."""
    last = -1
    for leaf in source.leaves(edit.condition[0]):
        node = ancestor(leaf, "if_statement")
        if node is None or not _is_within(source, node, edit.within):
            continue
        condition = node.child_by_field_name("condition")
        if condition is None or not condition.start_byte <= leaf.start_byte < condition.end_byte:
            continue
        if not source.mentions(condition, edit.condition) or node.start_byte < last:
            continue
        if source.mentions(node, edit.body):
            last = node.end_byte
            yield node


def _call(source: CSource, edit: Call) -> Iterator[Cut]:
    """Calls that are whole statements.

    At file level such a "call" is a macro, which the parser takes for all sorts
    of things. So the parentheses are matched here.
    """
    for leaf in source.leaves(edit.callee):
        end = _closing(source.text, leaf.end_byte)
        before = source.text[: leaf.start_byte].rstrip()
        if end is None or not source.text.startswith(b";", end):
            continue
        if not before.endswith((b";", b"{", b"}", b"*/")) and not _is_directive(before):
            continue
        if not _is_within(source, leaf, edit.within):
            continue
        if all(any(source.leaves_between(word, leaf.end_byte, end)) for word in edit.args):
            yield Cut(leaf.start_byte, end + 1)


def _assignment(source: CSource, edit: Assignment) -> Iterator[Cut]:
    for leaf in source.leaves(edit.name):
        node = ancestor(leaf, "assignment_expression")
        left = node and node.child_by_field_name("left")
        if node is None or left is None or not _is_within(source, leaf, edit.within):
            continue
        if left.end_byte != leaf.end_byte:
            continue
        statement = node.parent
        if statement is None or statement.type != "expression_statement":
            raise Unclear("is part of a larger expression")
        yield _statement(source, statement)


def _trace_event(source: CSource, edit: TraceEvent) -> Iterator[Cut]:
    # Not C, but one line each.
    event = re.compile(rb"^(?:disable )?" + edit.name.encode() + rb"\([^\n]*", re.MULTILINE)
    for match in event.finditer(source.text):
        yield Cut(match.start(), match.end())


def _idle_include(source: CSource, edit: IdleInclude) -> Iterator[Cut]:
    line = re.compile(rb'^#include [<"]' + re.escape(edit.header.encode()) + rb'[>"]', re.MULTILINE)
    match = line.search(source.text)
    if match:
        rest = source.text[: match.start()] + source.text[match.end() :]
        if not re.search(edit.users.encode(), rest):
            yield Cut(match.start(), match.end())


def _whole(source: CSource, node: Node) -> Cut:
    text = source.text[node.start_byte : node.end_byte]
    return Cut(node.start_byte, node.start_byte + len(text.rstrip()))


def _statement(source: CSource, node: Node) -> Cut:
    """A statement that may go without another taking its place under an `if`."""
    parent = node.parent
    if parent is None or parent.type in _GOVERNING:
        raise Unclear("is governed by another statement")
    return _whole(source, node)


def _is_within(source: CSource, node: Node, function: str) -> bool:
    return not function or source.function_of(node) == function


def _closing(text: bytes, opening: int) -> int | None:
    """The byte after the parenthesis that closes the one at `opening`."""
    if not text.startswith(b"(", opening):
        return None
    depth = 0
    for token in re.compile(rb'[()]|"(?:[^"\\]|\\.)*"').finditer(text, opening):
        depth += {b"(": 1, b")": -1}.get(token.group(), 0)
        if depth == 0:
            return token.end()
    return None


def _is_directive(before: bytes) -> bool:
    return before[before.rfind(b"\n") + 1 :].lstrip().startswith(b"#") or not before


def _innermost(declarator: Node) -> Node:
    inner = declarator.child_by_field_name("declarator")
    return declarator if inner is None else _innermost(inner)


_FINDERS: dict[type[Edit], Callable[[CSource, Any], Iterator[Cut]]] = {
    Assignment: _assignment,
    Call: _call,
    Define: _define,
    Entry: _entry,
    Function: _function,
    IdleInclude: _idle_include,
    If: _if,
    KeepThen: _keep_then,
    Local: _local,
    Member: _member,
    Operand: _operand,
    Prototype: _prototype,
    Struct: _struct,
    TraceEvent: _trace_event,
    Typedef: _typedef,
}
