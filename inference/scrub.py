"""Takes keys out of text that is printed or kept: every error that came from a server or a client passes through here."""

import re

SHOWN = "[key removed]"

_SHAPES = re.compile(
    r"\b(?:sk|pk|rk)-[\w*.-]{6,}"  # OpenAI, Anthropic and those that follow them; also shortened with asterisks
    r"|\bhf_\w{8,}"
    r"|(?<=Bearer )[\w.~+/*=-]{6,}"
    r"|(?<=x-api-key: )[\w.~+/*=-]{6,}",
    re.IGNORECASE,
)
_known: set[str] = set()


def learn(key: str) -> str:
    """Remember a key, to be removed wherever it appears; returns it."""
    if len(key) >= 6:
        _known.add(key)
    return key


def scrub(text: str) -> str:
    """The text without the keys that were learnt and without what has the shape of one."""
    for key in sorted(_known, key=len, reverse=True):
        text = text.replace(key, SHOWN)
    return _SHAPES.sub(SHOWN, text)
