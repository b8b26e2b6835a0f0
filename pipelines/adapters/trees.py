"""Conversation trees of OpenAssistant: the best-ranked answer at each step, every follow-up a conversation of its own."""

from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.adapters.base import Fields, Prompt, Unreadable, checked, divide, type_name

Path = list[Mapping[str, Any]]


def oasst_tree(record: Mapping[str, Any], fields: Fields) -> list[Prompt]:
    """A tree whose `prompt`, or the record itself, is the first message, with `replies` in it; deleted messages are left out."""
    root = record.get("prompt", record)
    if not isinstance(root, dict) or "text" not in root:
        raise Unreadable(
            f"no message with a text at the root of the tree; the columns are: {', '.join(map(str, record))[:300]}"
        )
    return _prompts(root)


def oasst_messages(record: Mapping[str, Any], fields: Fields) -> list[Prompt]:
    """The messages of one tree as flat records with `message_id` and `parent_id`, gathered in `records` (registry: group)."""
    nodes = {m["message_id"]: {**m, "replies": []} for m in record["records"]}
    root = None
    for node in nodes.values():
        if node["parent_id"] is None:
            root = node
        elif node["parent_id"] in nodes:
            nodes[node["parent_id"]]["replies"].append(node)
        else:
            raise Unreadable(
                f"the parent of message {node['message_id']} is not in its tree; sort the file by message_tree_id"
            )
    if root is None:
        raise Unreadable("the tree has no first message (one without a parent); sort the file by message_tree_id")
    return _prompts(root)


def _prompts(root: Mapping[str, Any]) -> list[Prompt]:
    if not _usable(root):
        raise Unreadable("the first message of the tree was deleted or rejected in review")
    prompts: list[Prompt] = []
    for path in _paths(root):
        prompt = _prompt(path)
        if not any(prompt.messages == p.messages and prompt.completions == p.completions for p in prompts):
            prompts.append(prompt)
    return prompts


def _prompt(path: Path) -> Prompt:
    # a last user message that nobody answered: the conversation before it is what the tree teaches
    if len(path) > 1 and path[-1]["role"] == "prompter":
        path = path[:-1]
    messages = []
    for node in path:
        if not isinstance(node["text"], str):
            raise Unreadable(f"the text of message {node.get('message_id')} is {type_name(node['text'])}")
        messages.append({"role": "user" if node["role"] == "prompter" else "assistant", "content": node["text"]})
    prompt = divide(checked(messages), _author(path[-1]))
    prompt.language = path[0].get("lang")
    return prompt


def _paths(node: Mapping[str, Any]) -> Iterator[Path]:
    """From a message to every leaf, the best answer only at each step; a stack, since a dialogue may be thousands of turns deep."""
    stack: list[tuple[Mapping[str, Any], int]] = [(node, 0)]
    path: Path = []
    while stack:
        node, depth = stack.pop()
        path[depth:] = [node]
        replies = [r for r in node.get("replies") or [] if _usable(r)]
        if node["role"] == "prompter":
            replies = sorted(replies, key=_rank)[:1]
        if not replies:
            yield list(path)
        stack += [(reply, depth + 1) for reply in reversed(replies)]


def _rank(node: Mapping[str, Any]) -> float:
    return float("inf") if node.get("rank") is None else node["rank"]


def _usable(node: Mapping[str, Any]) -> bool:
    return not node.get("deleted") and node.get("review_result") is not False


def _author(node: Mapping[str, Any]) -> str:
    return (node.get("model_name") or "unknown model") if node.get("synthetic") else "human"
