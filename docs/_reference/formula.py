r"""Translate a docstring's formula into LaTeX: `μ̂ / (√ν̂ + eps)` to `\frac{\hat{\mu}}{...}`.

Products are written side by side, and `a b / c d` is read from left to right, as `(a b / c) d`: all
factors after a slash but the first stand in the numerator.
"""

import re
from collections.abc import Callable

HAT = "\u0302"
GREEK = {
    "α": "alpha",
    "β": "beta",
    "γ": "gamma",
    "δ": "delta",
    "ε": "varepsilon",
    "η": "eta",
    "λ": "lambda",
    "μ": "mu",
    "ν": "nu",
    "ρ": "rho",
    "Δ": "Delta",
}
NAMED = {
    "b": r"b",
    "b1": r"\beta_1",
    "b2": r"\beta_2",
    "b3": r"\beta_3",
    "eps": r"\varepsilon",
    "eps_root": r"\varepsilon_{\mathrm{root}}",
    "alpha": r"\alpha",
    "gamma": r"\gamma",
    "rho": r"\rho",
}
"""The arguments whose symbols are those of the papers."""
FUNCTIONS = (
    *("max", "min", "clip", "sign", "rms", "mean", "round", "exp", "log", "atan2", "unit"),
)
WORDS = ("and", "while", "of", "for", "with", "if", "else", "where")
RELATIONS = {"=": "=", "<": "<", ">": ">", "≤": r"\le", "≥": r"\ge", "+=": r"\mathrel{+}="}
POWERS = {"²": "2", "³": "3"}
FRACTIONS = {"¼": r"\tfrac{1}{4}", "½": r"\tfrac{1}{2}"}
PREFIXES = {"√": r"\sqrt", "Σ": r"\sum", "Π": r"\prod"}
TOKEN = re.compile(
    rf"\s*(\+=|\d+(?:\.\d+)?(?:e-?\d+)?|[A-Za-zα-ωΔ]{HAT}?[A-Za-z0-9]*(?:_[A-Za-z0-9]+)*|[_^]|\S)"
)


class FormulaError(ValueError):
    """Say that a text is no formula of this grammar."""


def to_latex(text: str) -> str:
    """Translate a formula.

    Args:
        text: one formula, or several with commas between them, without backticks.

    Raises:
        FormulaError: if the text is none.
    """
    return r" \qquad ".join(pieces(text))


def pieces(text: str) -> list[str]:
    """Translate a formula, split at the commas that are in no brackets."""
    tokens = TOKEN.findall(text)
    if "".join(tokens) != re.sub(r"\s", "", text):
        raise FormulaError(text)
    parser = _Parser(tokens, text)
    found = parser.separated()
    if parser.here:
        raise FormulaError(f"{text!r}: {parser.here!r} is left over")
    return found


class _Parser:
    """Descend through commas, relations, sums, products and powers."""

    def __init__(self, tokens: list[str], text: str) -> None:
        self.tokens = tokens
        self.text = text
        self.at = 0
        self.closing: set[int] = set()  # where bars are that close

    @property
    def here(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self, expected: str | None = None) -> str:
        token = self.here
        if not token or (expected is not None and token != expected):
            raise FormulaError(f"{self.text!r}: {expected or 'more'} is missing before {token!r}")
        self.at += 1
        return token

    def separated(self) -> list[str]:
        found = [self.relation()]
        while self.here == ",":
            self.take()
            found.append(self.relation())
        return found

    def relation(self) -> str:
        out = ""
        while self.here in WORDS:
            out += rf"\text{{ {self.take()} }}"
        out += self.sum()
        while self.here in RELATIONS or self.here in WORDS:
            token = self.take()
            out += f" {RELATIONS[token]} " if token in RELATIONS else rf"\text{{ {token} }}"
            out += self.sum()
        return out

    def sum(self) -> str:
        sign = {"-": "-", "+": "+", "±": r"\pm "}
        out = sign[self.take()] if self.here in sign else ""
        out += self.product()
        while self.here in ("+", "-"):
            out += f" {self.take()} {self.product()}"
        return out

    def product(self) -> str:
        above, below = [self.power()], []
        while self.here == "/" or self._begins_factor():
            if self.here == "/":
                self.take()
                below.append(self.power())
            else:
                above.append(self.power())
        if not below:
            return _side_by_side(above)
        return rf"\frac{{{_side_by_side(above)}}}{{{_side_by_side(below)}}}"

    def _begins_factor(self) -> bool:
        token = self.here
        if token == "|":
            return self._opens_bar()
        return bool(token) and token not in WORDS and (token[0].isalnum() or token in "(√ΣΠ¼½")

    def _opens_bar(self) -> bool:
        return self.at not in self.closing

    def power(self) -> str:
        base = self.atom()
        while self.here in POWERS or self.here == "^":
            token = self.take()
            base = f"{{{base}}}" if "^" in base and not base.startswith("\\left") else base
            base += f"^{{{POWERS[token] if token in POWERS else self.index()}}}"
        return base

    def index(self) -> str:
        """Read what stands after `^` or `_`: braces and brackets around it are not shown."""
        closing = {"{": "}", "(": ")"}.get(self.here)
        if closing is None:
            sign = self.take() if self.here == "-" else ""
            return sign + self.atom()
        self.take()
        inner = self.sum()
        self.take(closing)
        return inner

    def atom(self) -> str:
        token = self.take()
        readers: dict[str, Callable[[], str]] = {"(": self._brackets, "|": self._bars}
        if token in readers:
            return readers[token]()
        if token in FRACTIONS:
            return FRACTIONS[token]
        if token in PREFIXES:
            return self._prefixed(token)
        if token in FUNCTIONS:
            return self._function(token)
        if re.fullmatch(r"[\d.]+", token):
            return token
        if scientific := re.fullmatch(r"1e(-?\d+)", token):
            return f"10^{{{scientific[1]}}}"
        if not token[0].isalpha() or token in WORDS:
            raise FormulaError(f"{self.text!r}: {token!r} begins nothing")
        return self._name(token)

    def _brackets(self) -> str:
        inner = self.sum()
        self.take(")")
        return rf"\left({inner}\right)"

    def _bars(self) -> str:
        later = range(self.at, len(self.tokens))
        self.closing.add(next((i for i in later if self.tokens[i] == "|"), -1))
        inner = self.sum()
        self.take("|")
        return rf"\left|{inner}\right|"

    def _prefixed(self, token: str) -> str:
        if token == "√":
            return rf"\sqrt{{{_without_brackets(self.atom())}}}"
        out = PREFIXES[token]
        if self.here == "_":
            self.take()
            out += f"_{{{self.index()}}}"
        return f"{out} {self.power()}"

    def _function(self, token: str) -> str:
        name = rf"\{token}" if token in ("max", "min", "exp", "log") else rf"\mathrm{{{token}}}"
        if self.here != "(":
            return f"{name} {self.power()}"
        self.take()
        inner = ", ".join(self.separated())
        self.take(")")
        return rf"{name}\left({inner}\right)"

    def _name(self, token: str) -> str:
        if token in NAMED:
            return NAMED[token]
        base, _, below = token.partition("_")
        if len(base) > 1 and len(below) > 1 and base.isascii():  # an argument, and no index
            escaped = token.replace("_", r"\_")
            return rf"\mathrm{{{escaped}}}"
        out = _letter(base)
        if below:
            out += f"_{below}" if len(below) == 1 else rf"_{{\mathrm{{{below}}}}}"
        elif self.here == "_":
            self.take()
            out += f"_{{{self.index()}}}"
        return out


def _letter(base: str) -> str:
    plain = base.removesuffix(HAT)
    shown = rf"\{GREEK[plain]}" if plain in GREEK else plain
    if len(plain) > 1:
        shown = rf"\mathrm{{{plain}}}"
    return rf"\hat{{{shown}}}" if base.endswith(HAT) else shown


def _side_by_side(factors: list[str]) -> str:
    if len(factors) == 1:
        return _without_brackets(factors[0])
    return r" \, ".join(factors)


def _without_brackets(latex: str) -> str:
    r"""Take away brackets around the whole, which a root or a fraction makes needless."""
    if not (latex.startswith(r"\left(") and latex.endswith(r"\right)")):
        return latex
    depth = 0
    for match in re.finditer(r"\\left[(|]|\\right[)|]", latex):
        depth += 1 if match[0].startswith(r"\left") else -1
        if depth == 0:
            whole = match.end() == len(latex)
            return latex[6:-7] if whole else latex
    return latex
