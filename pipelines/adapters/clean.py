"""Repairs that a source needs because of how it was written; a source names those that it needs."""

import ast
import json

_ESCAPES = {"\\n": "\n", "\\t": "\t", "\\\\": "\\"}


def escapes(text: str) -> str:
    r"""Line breaks and tabs written as \n and \t, as in tab-separated files."""
    if "\\" not in text:
        return text
    out, i = [], 0
    while i < len(text):
        pair = text[i : i + 2]
        if pair in _ESCAPES:
            out.append(_ESCAPES[pair])
            i += 2
        else:
            out.append(text[i])
            i += 1
    return "".join(out)


def line_breaks(text: str) -> str:
    r"""Line breaks written as \n; every other backslash stays, as LaTeX needs."""
    return text.replace("\\n", "\n")


def end_of_text(text: str) -> str:
    """An end-of-text token of GPT-2 that was left in the text."""
    return text.removesuffix("<|endoftext|>")


def bytes_literal(text: str) -> str:
    """A Python bytes literal (b'…\\n') that was written instead of its text."""
    if text[:2] not in ("b'", 'b"'):
        return text
    try:
        value = ast.literal_eval(text)
        return value.decode("utf-8").strip() if isinstance(value, bytes) else text
    except (ValueError, SyntaxError):
        return text


def json_string(text: str) -> str:
    """A text that was written as a JSON string, quotes and escapes and all."""
    if not text.startswith('"'):
        return text
    try:
        value = json.loads(text)
        value.encode()  # half a surrogate pair is no text
        return value
    except ValueError:
        return text


CLEAN = {f.__name__: f for f in (escapes, line_breaks, end_of_text, bytes_literal, json_string)}
