"""The grammar of answers to MATH, by recursive descent: from tokens to a tree (see `tasks.math.latex`)."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

from tasks.math.tokens import FUNCTIONS, LatexError, Token

Node = tuple[Any, ...]

DEEPEST = 40  # nested groups and signs
DIGITS = 1000  # of a number
_RELATIONS = ("=", "<", ">", "\\le", "\\ge", "\\ne", "\\in")
_SET_OPERATORS = {"\\cup": "union", "U": "union", "\\cap": "inter", "\\setminus": "minus", "\\backslash": "minus"}
_NO_FACTORS = frozenset(
    ("\\cup", "\\cap", "\\setminus", "\\backslash", "\\pm", "\\mp", "\\rangle", "\\rfloor", "\\rceil", *_RELATIONS)
)
_CLOSING = {"(": (")", "]"), "[": (")", "]"), "\\{": ("\\}",), "\\langle": ("\\rangle",)}
_CONSTANTS = {"i": "i", "\\imath": "i", "e": "e", "\\pi": "pi", "\\infty": "oo"}
_GREEK = frozenset(
    ("alpha", "beta", "gamma", "delta", "epsilon", "varepsilon", "zeta", "eta", "theta", "vartheta", "iota", "kappa", "lambda",
     "mu", "nu", "xi", "rho", "sigma", "tau", "upsilon", "phi", "varphi", "chi", "psi", "omega", "Gamma", "Delta", "Theta", "Lambda",
     "Xi", "Sigma", "Phi", "Psi", "Omega", "ell", "hbar", "angle", "triangle")
)  # fmt: skip
_TRIGONOMETRIC = ("sin", "cos", "tan", "cot", "sec", "csc")
_MATRICES = ("\\begin{pmatrix}", "\\begin{bmatrix}", "\\begin{matrix}", "\\begin{array}", "\\begin{smallmatrix}")

ONE: Node = ("num", 1, 1)


def number(digits: str) -> Node:
    """A decimal number, exactly."""
    if len(digits) > DIGITS:
        raise LatexError(f"a number of more than {DIGITS:,} digits")
    value = Fraction(digits)
    return ("num", value.numerator, value.denominator)


def _times(node: Node, factor: Node) -> Node:
    return (*node, factor) if node[0] == "mul" else ("mul", node, factor)


class Parser:
    """Recursive descent. Every method reads from `at` on and raises LatexError."""

    def __init__(self, found: list[Token]) -> None:
        self.tokens = found
        self.at = 0
        self.depth = 0
        self.bars = 0

    def peek(self) -> str:
        return self.tokens[self.at].text if self.at < len(self.tokens) else ""

    def kind(self) -> str:
        return self.tokens[self.at].kind if self.at < len(self.tokens) else ""

    def next(self) -> Token:
        if self.at >= len(self.tokens):
            raise LatexError("ends too early")
        self.at += 1
        return self.tokens[self.at - 1]

    def take(self, *texts: str) -> str:
        """The next token if it is one of these, else ''."""
        if self.kind() in ("sign", "name", "environment") and self.peek() in texts:
            return self.next().text
        return ""

    def expect(self, *texts: str) -> str:
        found = self.take(*texts)
        if not found:
            raise LatexError(f"{' or '.join(texts)} expected before {self.peek()!r}")
        return found

    def answer(self) -> Node:
        node = self.several(lambda: self.at >= len(self.tokens))
        if self.at < len(self.tokens):
            raise LatexError(f"{self.peek()!r} left over")
        return node

    def several(self, done: Callable[[], bool]) -> Node:
        """Relations with commas between them; one is itself."""
        items = list(self.items(done))
        return items[0] if len(items) == 1 else ("seq", *items)

    def items(self, done: Callable[[], bool]) -> Iterator[Node]:
        yield self.relation()
        while self.take(","):
            while self.take(","):
                pass
            if done():
                break
            yield self.relation()

    def relation(self) -> Node:
        parts, operators = [self.union()], []
        while self.kind() in ("sign", "name") and self.peek() in _RELATIONS:
            operators.append(self.next().text)
            parts.append(self.union())
        return ("rel", tuple(operators), *parts) if operators else parts[0]

    def union(self) -> Node:
        node = self.sum()
        while True:
            if self.peek() not in _SET_OPERATORS or (self.peek() == "U" and node[0] not in ("group", "set", "union")):
                return node
            kind = _SET_OPERATORS[self.next().text]
            right = self.sum()
            node = (*node, right) if node[0] == kind == "union" else (kind, node, right)

    def sum(self) -> Node:
        node = self.product()
        while True:
            operator = self.take("+", "-", "\\pm", "\\mp")
            if not operator:
                return node
            right = self.product()
            if operator in ("\\pm", "\\mp"):
                node = ("pm", node, right if operator == "\\pm" else ("neg", right))
            else:
                right = right if operator == "+" else ("neg", right)
                node = (*node, right) if node[0] == "add" else ("add", node, right)

    def product(self) -> Node:
        sign = self.take("+", "-", "\\pm", "\\mp")
        if sign:
            self.deeper()
            inner = self.product()
            self.depth -= 1
            return {"+": inner, "-": ("neg", inner)}.get(sign) or ("pm", ("num", 0, 1), inner)
        node = self.power()
        while True:
            if self.take("*"):
                node = _times(node, self.signed())
            elif self.take("/", ":"):
                node = ("div", node, self.signed())
            elif self.kind() == "text":
                self.units()
            elif self.starts():
                node = self.beside(node)
            else:
                return node

    def signed(self) -> Node:
        if not self.take("-"):
            return self.power()
        self.deeper()
        inner = self.signed()
        self.depth -= 1
        return ("neg", inner)

    def units(self) -> None:
        """Words behind a value: `cm^2`, `miles per hour`, `km/h`."""
        while self.kind() == "text":
            if any(character.isdigit() for character in self.next().text):
                raise LatexError("a value among the words")
            if self.take("^"):
                self.script()
            if self.peek() == "/" and self.at + 1 < len(self.tokens) and self.tokens[self.at + 1].kind == "text":
                self.next()
        if self.starts():
            raise LatexError(f"{self.peek()!r} behind a unit")

    def starts(self) -> bool:
        """Whether a factor begins here, so that a product is meant."""
        text = self.peek()
        if self.kind() == "number":
            return True
        if self.kind() == "name":
            return text not in _NO_FACTORS and (
                text != "U" or self.at + 1 >= len(self.tokens) or self.tokens[self.at + 1].text not in ("(", "[", "\\{")
            )
        return text in ("(", "[", "{", "\\{") or (text == "|" and not self.bars) or text in _MATRICES

    def beside(self, node: Node) -> Node:
        """A factor without a sign before it. A whole number before a proper fraction is a mixed number."""
        at = self.at
        before, token = self.tokens[at - 1], self.tokens[at]
        if before.kind == "number" and node[0] == "num" and node[2] == 1:
            if token.text == "\\frac":
                part = self.power()
                if part[0] == "div" and part[1][0] == part[2][0] == "num" and 0 < part[1][1] < part[2][1]:
                    return ("add", node, part)
                return _times(node, part)
            ahead = self.tokens[at : at + 3]
            if (
                token.kind == "number"
                and token.spaced
                and [each.kind for each in ahead[::2]] == ["number"] * 2
                and ahead[1].text == "/"
            ):
                self.at += 3
                return ("add", node, ("div", number(ahead[0].text), number(ahead[2].text)))
        if token.kind == "number":
            raise LatexError("a number behind a factor")
        return _times(node, self.power())

    def power(self) -> Node:
        node = self.postfix(self.atom())
        if self.take("^"):
            node = self.postfix(("pow", node, self.script()))
        return node

    def postfix(self, node: Node) -> Node:
        while True:
            if self.take("!"):
                node = ("fn", "factorial", node)
            elif self.take("%"):
                node = ("pct", node)
            elif self.take("°"):
                node = ("deg", node)
            elif node[0] == "sym" and self.take("_"):
                node = ("sym", f"{node[1]}_{self.subscript()}")
            else:
                return node

    def script(self) -> Node:
        """What stands behind `^`: a group, or one factor with its sign."""
        if self.peek() == "{":
            self.deeper()
            node = self.group()
            self.depth -= 1
            return node
        return self.signed() if self.peek() in ("-", "\\sqrt", "\\frac", "(") else self.postfix(self.atom())

    def subscript(self) -> str:
        if not self.take("{"):
            return self.next().text
        parts = []
        while not self.take("}"):
            parts.append(self.next().text)
        return "".join(parts)

    def group(self) -> Node:
        """`{…}`."""
        self.expect("{")
        bars, self.bars = self.bars, 0
        node = self.several(lambda: self.peek() == "}")
        self.bars = bars
        self.expect("}")
        return node

    def argument(self) -> Node:
        """A group, or as in LaTeX the next digit, letter or command."""
        if self.peek() == "{":
            return self.group()
        if self.kind() == "number":
            token = self.tokens[self.at]
            if not token.text.isdigit():
                raise LatexError("a decimal number without braces")
            if len(token.text) > 1:
                self.tokens[self.at] = Token("number", token.text[1:], False)
            else:
                self.at += 1
            return number(token.text[0])
        return self.atom()

    def atom(self) -> Node:
        self.deeper()
        token = self.next()
        if token.kind == "number":
            node = number(token.text)
        elif token.kind == "text":
            node = ("text", token.text)
        elif token.text in _COMMANDS:
            node = _COMMANDS[token.text](self, token.text)
        elif token.kind == "name":
            node = self.named(token.text)
        else:
            raise LatexError(f"{token.text!r} begins no factor")
        self.depth -= 1
        return node

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > DEEPEST:
            raise LatexError("nested too deeply")

    def absolute(self, _: str) -> Node:
        self.bars += 1
        inner = self.sum()
        self.bars -= 1
        self.expect("|")
        return ("fn", "abs", inner)

    def braced(self, _: str) -> Node:
        self.at -= 1
        return self.group()

    def bracketed(self, opening: str) -> Node:
        bars, self.bars = self.bars, 0
        closers = _CLOSING[opening]
        if opening == "\\{" and self.take("\\}"):
            return ("set",)
        items = list(self.items(lambda: self.peek() in closers))
        closed = self.expect(*closers)
        self.bars = bars
        if opening == "\\{":
            return ("set", *items)
        if len(items) == 1 and opening != "\\langle":
            return items[0]
        return ("group", "(", ")", *items) if opening == "\\langle" else ("group", opening, closed, *items)

    def matrix(self, opening: str) -> Node:
        if opening == "\\begin{array}" and self.peek() == "{":
            self.subscript_group()
        closing = opening.replace("begin", "end")
        rows: list[list[Node]] = [[]]
        while not self.take(closing):
            rows[-1].append(self.union())
            if self.take("\\\\"):
                if self.peek() != closing:
                    rows.append([])
            elif self.peek() != closing:
                self.expect("&")
        if len({len(row) for row in rows}) != 1:
            raise LatexError("rows of a matrix differ in length")
        return ("matrix", len(rows), len(rows[0]), *(cell for row in rows for cell in row))

    def subscript_group(self) -> None:
        while self.next().text != "}":
            pass

    def named(self, name: str) -> Node:
        if name in _CONSTANTS:
            return ("const", _CONSTANTS[name])
        if name[1:] in FUNCTIONS:
            return self.function(name[1:])
        if name[0] != "\\" or name[1:] in _GREEK:
            return ("sym", name.lstrip("\\"))
        raise LatexError(f"the command {name} is not known")

    def fraction(self, _: str) -> Node:
        above = self.argument()
        return ("div", above, self.argument())

    def root(self, _: str) -> Node:
        degree: Node = ("num", 2, 1)
        if self.take("["):
            degree = self.sum()
            self.expect("]")
        return ("root", self.argument(), degree)

    def binomial(self, _: str) -> Node:
        above = self.argument()
        return ("fn", "binomial", above, self.argument())

    def decorated(self, name: str) -> Node:
        """Names with a line, arrow or hat are the same names without; over digits it says something else."""
        inner = self.argument()
        return inner if inner[0] in ("sym", "mul") else ("fn", name[1:], inner)

    def rounded(self, name: str) -> Node:
        inner = self.sum()
        self.expect(name.replace("\\l", "\\r"))
        return ("fn", "floor" if name == "\\lfloor" else "ceiling", inner)

    def function(self, name: str) -> Node:
        base = None
        exponent = None
        for _ in range(2):
            if name == "log" and self.take("_"):
                base = self.argument()
            elif self.take("^"):
                exponent = self.script()
        if self.peek() in ("(", "{", "["):
            argument = self.atom()
        else:
            argument = self.power()
            while self.starts() and self.peek() not in ("(", "[") and self.peek()[1:] not in FUNCTIONS:
                argument = _times(argument, self.power())
        if name in _TRIGONOMETRIC and argument[0] == "deg":
            argument = ("div", ("mul", argument[1], ("const", "pi")), ("num", 180, 1))
        if exponent == ("neg", ONE) and name in _TRIGONOMETRIC:
            return ("fn", "arc" + name, argument)
        items = argument[3:] if argument[0] == "group" else argument[1:] if argument[0] == "seq" else (argument,)
        node: Node = ("fn", name, *items, *([base] if base else []))
        return ("pow", node, exponent) if exponent else node


_COMMANDS: dict[str, Callable[[Parser, str], Node]] = {
    "(": Parser.bracketed,
    "[": Parser.bracketed,
    "\\{": Parser.bracketed,
    "\\langle": Parser.bracketed,
    "{": Parser.braced,
    "|": Parser.absolute,
    "\\frac": Parser.fraction,
    "\\sqrt": Parser.root,
    "\\binom": Parser.binomial,
    "\\boxed": lambda parser, _: parser.argument(),
    "\\overline": Parser.decorated,
    "\\bar": Parser.decorated,
    "\\vec": Parser.decorated,
    "\\hat": Parser.decorated,
    "\\emptyset": lambda parser, _: ("set",),
    "\\lfloor": Parser.rounded,
    "\\lceil": Parser.rounded,
    **dict.fromkeys(_MATRICES, Parser.matrix),
}
