"""C source as tokens with line numbers, for the checkers. Comments, strings and directives are apart."""

import re

TOKEN = re.compile(
    r"""
    (?P<comment>/\*.*?\*/|//[^\n]*)
  | (?P<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')
  | (?P<directive>^[ \t]*\#(?:[^\n\\/"']|\\\n|\\.|/(?![*/])|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')*)
  | (?P<word>[A-Za-z_]\w*)
  | (?P<number>\.?\d(?:[\w.]|[eEpP][+-])*)
  | (?P<space>\s+)
  | (?P<punct>->|\+\+|--|<<|>>|[<>=!]=|&&|\|\||\.\.\.|.)
    """,
    re.VERBOSE | re.DOTALL | re.MULTILINE,
)


class Token:
    __slots__ = ("kind", "text", "line", "offset")

    def __init__(self, kind, text, line, offset):
        self.kind, self.text, self.line, self.offset = kind, text, line, offset

    def __repr__(self):
        return f"{self.text!r}@{self.line}"


def tokenize(text):
    """All tokens but white space, in order."""
    line = 1
    for match in TOKEN.finditer(text):
        if match.lastgroup != "space":
            yield Token(match.lastgroup, match.group(), line, match.start())
        line += match.group().count("\n")


def code(text):
    """Tokens of code only: words, numbers, punctuation, strings."""
    return [t for t in tokenize(text) if t.kind in ("word", "number", "punct", "string")]
