"""Lines: where a key stands, and where a syntax error is."""

import pytest

from hamgr.config.document import parse
from hamgr.config.lines import lines_of

TEXT = """\
# comment
title = "x"
a.b = 1

[t]  # header
list = [
  1,  # one
  2, 3,

  { k = "v" },
]
text = \"\"\"
[not.a.header]
key = 1
\"\"\"
inline = { p = [1, 2], q = { r = 1 } }

[[t.array]]
n = 1
[t.array.sub]
n = 2
[[t.array]]
n = 3
["quoted.name".x]
'y z' = 1
"""


@pytest.mark.parametrize(("path", "line"), [
    (("title",), 2), (("a", "b"), 3), (("t",), 5), (("t", "list"), 6), (("t", "list", 0), 7),
    (("t", "list", 1), 8), (("t", "list", 2), 8), (("t", "list", 3), 10),
    (("t", "list", 3, "k"), 10), (("t", "text"), 12), (("t", "inline", "p", 1), 16),
    (("t", "inline", "q", "r"), 16), (("t", "array"), 18), (("t", "array", 0), 18),
    (("t", "array", 0, "n"), 19), (("t", "array", 0, "sub"), 20),
    (("t", "array", 0, "sub", "n"), 21),
    (("t", "array", 1), 22), (("t", "array", 1, "n"), 23), (("quoted.name",), 24),
    (("quoted.name", "x", "y z"), 25),
])
def test_every_key_has_its_line(path: tuple[str | int, ...], line: int) -> None:
    assert lines_of(TEXT)[path] == line


def test_what_only_looks_like_a_key_has_none() -> None:
    assert ("not",) not in lines_of(TEXT)
    assert ("t", "key") not in lines_of(TEXT)


def test_lines_are_the_same_with_windows_line_ends() -> None:
    assert lines_of(TEXT.replace("\n", "\r\n")) == lines_of(TEXT)


@pytest.mark.parametrize(("text", "line", "words"), [
    ("[a]\nb = c\n", 2, "write text in quotes"),
    ("[a]\nb = 1\nb = 2\n", 3, "this key is given twice"),
    ("[a]\nb = 1\n[a]\n", 3, "this table is given twice"),
    ("[a]\nb\n", 2, "key = value"),
    ("[a]\nb = 1\n\nc = [1, 2\n", 4, "] is missing"),
    ("[a]\n# c\nb = '''x\n\ny\n", 3, "closing quote is missing"),
    ('[a]\nb = "x\nc = 1\n', 2, "closing quote is missing"),
    ("[a]\nb = 1 c = 2\n", 2, "one key a line"),
    ("[a\nb = 1\n", 1, "not valid TOML"),
])
def test_syntax_errors_have_line_and_remedy(text: str, line: int, words: str) -> None:
    reading = parse(text)
    (fault,) = reading.faults
    assert reading.document is None
    assert (fault.line, fault.key) == (line, "")
    assert words in fault.text
