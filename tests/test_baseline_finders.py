# SPDX-License-Identifier: GPL-2.0-or-later
"""Each sort of edit on a few lines of C: what it takes, leaves and refuses."""

from __future__ import annotations

import re
from textwrap import dedent

import pytest

from hptresize.trees.strip.csource import CSource, Unclear, apply
from hptresize.trees.strip.finders import find
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
    Typedef,
)


def without(code: str, edit: Edit) -> str:
    """`code` after the one edit; it must be found once."""
    source = CSource(dedent(code).encode())
    (cut,) = find(source, edit)
    return apply(source.text, source.widen(cut, re.compile(rb"gone"))).decode()


def places(code: str, edit: Edit) -> int:
    return len(find(CSource(dedent(code).encode()), edit))


@pytest.mark.parametrize(
    ("code", "edit", "left"),
    [
        ("#define A 1\n#define X 2 /* two\n * lines */\n#define B\n", Define("X"),
         "#define A 1\n#define B\n"),
        ("int a;\n\n/* x */\nstatic int __init x(void)\n{\n}\n\nint b;\n", Function("x"),
         "int a;\n\nint b;\n"),
        ("int a;\n\nint x(void)\n{\n}\n\n\n\nint b;\n", Function("x"), "int a;\n\nint b;\n"),
        ("#ifdef Y\n\nint x(void)\n{\n}\n#endif /* Y */\n\nint b;\n", Function("x"), "int b;\n"),
        ("#ifdef Y\nint x(void)\n{\n}\n\nint y;\n#endif\n", Function("x"),
         "#ifdef Y\nint y;\n#endif\n"),
        ("int x(int a,\n      int b);\nint y(void);\n", Prototype("x"), "int y(void);\n"),
        ("struct x {\n\tint a;\n};\n\nstruct x *p;\n", Struct("x"), "struct x *p;\n"),
        ("typedef enum {\n    A,\n} X;\n\nX x;\n", Typedef("X"), "X x;\n"),
        ("struct s {\n    int a;\n    int (*x)(int b); /* c */\n};\n", Member("s", "x"),
         "struct s {\n    int a;\n};\n"),
        ("t a[] = {\n\t{Y, 1},\n\t{X, 2},\n};\n", Entry("X"), "t a[] = {\n\t{Y, 1},\n};\n"),
        ("int a = X | B;\n", Operand("X"), "int a = B;\n"),
        ("int a = A | X;\n", Operand("X"), "int a = A;\n"),
        ("int a = F(X);\n", Operand("X"), "int a = 0;\n"),
        ("int a = A |\n\tX |\n\tB;\n", Operand("X"), "int a = A |\n\tB;\n"),
        ("int a = A | X |\n\tB;\n", Operand("X"), "int a = A |\n\tB;\n"),
        ("int a = A |\n\tX;\n", Operand("X"), "int a = A;\n"),
        ("void f(void)\n{\n\tint x = 1;\n\n\tg();\n}\n", Local("f", "x"),
         "void f(void)\n{\n\tg();\n}\n"),
        ("void f(void)\n{\n\tg();\n\n\t/* c */\n\tx(\"a)\", 1);\n}\n", Call("x"),
         "void f(void)\n{\n\tg();\n}\n"),
        ("void f(void)\n{\n\ts->x = 1;\n\ts->y = s->x;\n}\n", Assignment("f", "x"),
         "void f(void)\n{\n\ts->y = s->x;\n}\n"),
        ("#include <a.h>\n#include <b.h>\nint x;\n", IdleInclude("b.h", "y"),
         "#include <a.h>\nint x;\n"),
        ("void f(void)\n{\n    if (x) {\n        /* c */\n        a = 1;\n    } else {\n"
         "        a = 2;\n    }\n    b();\n}\n", KeepThen(("x",)),
         "void f(void)\n{\n    /* c */\n    a = 1;\n    b();\n}\n"),
    ],
)  # fmt: skip
def test_takes_the_thing_and_closes_the_gap(code: str, edit: Edit, left: str) -> None:
    assert without(code, edit) == left


def test_a_comment_about_several_things_stays_with_the_others() -> None:
    code = "/* both */\n#define X 1\n#define Y 2\n"
    assert without(code, Define("X")) == "/* both */\n#define Y 2\n"


def test_a_comment_about_the_feature_goes_with_its_first_thing() -> None:
    code = "/* soon gone */\n#define X 1\n#define Y 2\n"
    assert without(code, Define("X")) == "#define Y 2\n"


def test_a_trailing_comment_of_the_line_above_is_not_taken() -> None:
    code = "int a; /* c */\nint x(void)\n{\n}\n"
    assert without(code, Function("x")) == "int a; /* c */\n"


def test_names_in_comments_strings_and_longer_words_do_not_count() -> None:
    code = '/* X */\nchar *s = "X";\nint X_Y, AX;\n#define XX 1\n'
    assert places(code, Define("X")) == 0
    assert places(code, Operand("X")) == 0


def test_a_use_is_not_a_definition() -> None:
    code = "int x(void);\nint f(void)\n{\n\treturn x();\n}\n"
    assert places(code, Function("x")) == 0
    assert places(code, Call("x")) == 0


def test_a_condition_is_looked_for_in_the_condition_only() -> None:
    code = "void f(void)\n{\n\tif (y)\n\t\tx();\n}\n"
    assert places(code, If(("x",))) == 0
    assert places(code, If(("y",), body=("x",))) == 1
    assert places(code, If(("y",), within="g")) == 0


def test_an_include_in_use_stays() -> None:
    assert places("#include <b.h>\nint y;\n", IdleInclude("b.h", r"\by\b")) == 0


@pytest.mark.parametrize(
    ("body", "edit"),
    [
        ("if (x) a(); else b();", If(("x",))),
        ("if (y) a(); else if (x) b();", If(("x",))),
        ("while (y) if (x) b();", If(("x",))),
        ("if (x) a();", KeepThen(("x",))),
        ("if (y) s->x = 1;", Assignment("f", "x")),
        ("y = x = 1;", Assignment("f", "x")),
        ("int x, y;", Local("f", "x")),
        ("int x; g(&x);", Local("f", "x")),
    ],
)
def test_refuses_what_would_change_other_code(body: str, edit: Edit) -> None:
    source = CSource(f"void f(void)\n{{\n\t{body}\n}}\n".encode())
    with pytest.raises(Unclear):
        find(source, edit)


@pytest.mark.parametrize("statement", ["if (y) x();", "a = x();", "if (y) a(); else x();"])
def test_a_call_that_is_no_statement_of_its_own_is_not_found(statement: str) -> None:
    assert places(f"void f(void)\n{{\n\t{statement}\n}}\n", Call("x")) == 0
