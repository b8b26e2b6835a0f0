"""What the loopback server says to pipelines.personas: text in the form that the templates ask for, made of the question alone."""

import hashlib
import re

# Follows many of the constraints at once, so that some prompts are answered as they ask and others are not.
RICH = """<<A bakery at night>>
* Answer with [name], [place], [time], [size], [form] and *this* and *that*, *one*, *two*, *three*, *four*, and community.
SECTION 1 of 5, Section 1, Section 2, Section 3, Section 4, Section 5.
P.S. It helps. P.P.S. It does."""
PLAIN = "A plain answer, with commas, and with nothing else."


def speak(body, times):
    *_, last = body["messages"]
    question = last["content"] if isinstance(last["content"], str) else last["content"][0]["text"]
    digest = hashlib.md5(question.encode()).hexdigest()
    if "Reply with one word" in question:
        return _judge(question, times)
    if "<persona>" in question:
        return (
            f"<persona>\nSomebody number {digest[:6]} who counts\n</persona>" if digest[0] > "2" else "I do not know."
        )
    if "The requirement to relax:" in question:
        return _rewrite(question)
    if "<prompt>" not in question:  # a prompt: the answer to a rewritten one is plain
        return PLAIN if "Rewritten." in question else RICH
    if digest[0] in "01":  # an eighth says something else
        return f"Certainly! Here is one: number {digest}"
    stated = re.search(r"exactly these requirements, no other:\n(.*?)\n\nPut them", question, re.DOTALL)
    requirements = "\n" + stated[1] if stated else ""
    if digest[0] == "2":
        requirements = ""
    return f"Gladly.\n<prompt>\nPlease tell me about matter {digest[:10]}.{requirements}\n</prompt>"


def _judge(question, times):
    message = re.search(r"<message>\n(.*)\n</message>", question, re.DOTALL)[1]
    if "unsure" in message:
        return "It depends." if times == 0 else "no"
    if "never" in message:
        return "Who can say?"
    return "Yes." if "exactly" in message else "no"


def _rewrite(question):
    """The request without the lines of the requirement; each was put as a line of its own."""
    relaxed = re.search(r"requirement to relax:\n(.*?)\n\nThe request:", question, re.DOTALL)[1]
    request = re.search(r"<request>\n(.*)\n</request>", question, re.DOTALL)[1]
    return f"<prompt>Rewritten. {request.replace('- ' + relaxed, '')}</prompt>"
