"""Chat templates: how a conversation becomes text, and which characters of it are trained.

A model learns the assistant's turns and the stop token that ends each of them, nothing else. The same definition renders text for
training, and exports as Jinja with generation markers for everything that reads `tokenizer_config.json`.

    text, trained = TEMPLATES["tulu"].render([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}], eos="</s>")
    text == "<|user|>\\nHi\\n<|assistant|>\\nHello</s>" and [text[a:b] for a, b in trained] == ["Hello</s>"]
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from warehouse.errors import CaravanError

ROLES = ("system", "user", "assistant")
Spans = list[tuple[int, int]]


@dataclass(frozen=True)
class Template:
    """A turn is header + content + end; `{role}`, `{stop}` stand for what they say, and a stop of None is the tokenizer's EOS.

    `other` ends a turn of system or user. The stop token ends an assistant's turn; after it comes `between` where another turn
    follows, and `last` where none does. `strip` takes white space off the ends of contents.
    """

    name: str
    header: str
    other: str
    between: str
    last: str
    stop: str | None = None
    strip: bool = False

    def stop_token(self, eos: str) -> str:
        return self.stop or eos

    def prompt(self) -> str:
        """What comes before the assistant's answer."""
        return self.header.format(role="assistant")

    def render(
        self, messages: Sequence[Mapping[str, str]], eos: str, bos: str = "", generation_prompt: bool = False
    ) -> tuple[str, Spans]:
        """The text of a conversation and the spans of characters that are trained. Raises CaravanError on an unknown role."""
        stop = self.stop_token(eos)
        text, trained = bos, []
        for i, message in enumerate(messages):
            role, content = message["role"], message["content"]
            if role not in ROLES:
                raise CaravanError(f"Turn {i + 1} has the role {role!r}. Roles are {', '.join(ROLES)}.")
            if content is None:
                raise CaravanError(f"Turn {i + 1} ({role}) has no content.")
            text += self.header.format(role=role)
            start = len(text)
            text += content.strip() if self.strip else content
            if role == "assistant":
                text += stop
                trained.append((start, len(text)))
                text += self.last if i == len(messages) - 1 else self.between
            else:
                text += self.other.format(stop=stop)
        return text + (self.prompt() if generation_prompt else ""), trained

    def jinja(self, bos: bool = False) -> str:
        """The same template for `tokenizer.chat_template`; `{% generation %}` marks what is trained."""
        stop = json.dumps(self.stop) if self.stop else "eos_token"
        before, after = (json.dumps(part) for part in self.header.split("{role}"))
        content = "message['content']" + (" | trim" if self.strip else "")
        other = " + ".join(json.dumps(part) if part != "{stop}" else stop for part in _parts(self.other))
        begin = "{{ bos_token }}" if bos else ""
        known = " or ".join(f"message['role'] == '{role}'" for role in ROLES)
        between, last = json.dumps(self.between), json.dumps(self.last)
        return (
            f"{begin}{{% for message in messages %}}"
            f"{{% if not ({known}) %}}{{{{ raise_exception('Roles are {', '.join(ROLES)}, not ' + message['role']) }}}}{{% endif %}}"
            f"{{{{ {before} + message['role'] + {after} }}}}"
            "{% if message['role'] == 'assistant' %}"
            f"{{% generation %}}{{{{ ({content}) + {stop} }}}}{{% endgeneration %}}"
            f"{{{{ {last} if loop.last else {between} }}}}"
            f"{{% else %}}{{{{ ({content}) + {other} }}}}{{% endif %}}"
            "{% endfor %}"
            f"{{% if add_generation_prompt %}}{{{{ {json.dumps(self.prompt())} }}}}{{% endif %}}"
        )

    @property
    def version(self) -> str:
        """First 8 hexadecimal digits of the hash of the definition: a changed template makes a new cache."""
        return hashlib.md5(self.jinja().encode(), usedforsecurity=False).hexdigest()[:8]


def _parts(text: str) -> list[str]:
    """`"{stop}\\n"` -> `["{stop}", "\\n"]`."""
    head, mark, tail = text.partition("{stop}")
    return [part for part in (head, mark, tail) if part]


TULU = Template("tulu", header="<|{role}|>\n", other="\n", between="\n", last="")

TEMPLATES = {
    template.name: template
    for template in (
        TULU,
        # Tülu 2: a newline after every turn of the assistant, so a prompt continues the text exactly.
        Template("tulu2", header="<|{role}|>\n", other="\n", between="\n", last="\n"),
        # The stop token alone ends a turn of the assistant, wherever it stands.
        Template("tulu_eos", header="<|{role}|>\n", other="\n", between="", last=""),
        Template("zephyr", header="<|{role}|>\n", other="{stop}\n", between="\n", last="\n"),
        Template(
            "llama3",
            header="<|start_header_id|>{role}<|end_header_id|>\n\n",
            other="{stop}",
            between="",
            last="",
            stop="<|eot_id|>",
            strip=True,
        ),
        Template("chatml", header="<|im_start|>{role}\n", other="{stop}\n", between="\n", last="\n", stop="<|im_end|>"),
    )
}


def template(name: str) -> Template:
    """A template by its name. Raises CaravanError naming those there are."""
    if name not in TEMPLATES:
        raise CaravanError(f"There is no chat template {name!r}. There are: {', '.join(TEMPLATES)}.")
    return TEMPLATES[name]
