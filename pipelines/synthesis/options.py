"""The command line of pipelines.personas."""

import argparse

from pipelines.asking import add_options, names, positive
from pipelines.files import FORMATS
from pipelines.synthesis.skills import SKILLS

EXAMPLES = """examples:
  Persona Hub from its files, under the licence that the registry states for it:
    spark-submit pipelines/personas.py ingest --source persona_hub --input 'persona.jsonl'
  personas of your own, one a line:
    spark-submit pipelines/personas.py ingest --source mine --input mine.txt --licence MIT
  personas out of prompts, then more out of these:
    spark-submit pipelines/personas.py make --from raw.prompts@latest --sources wildchat --count 1000 --model gpt-4o-2024-08-06
    spark-submit pipelines/personas.py make --from raw.personas@latest --count 5000 --model gpt-4o-2024-08-06 --source related
  what 10,000 maths problems with their solutions would cost; then ask:
    spark-submit pipelines/personas.py prompts --skill math --count 10000 --model gpt-4o-2024-08-06 --solver gpt-4o-2024-08-06 --dry-run
    spark-submit pipelines/personas.py prompts --skill math --count 10000 --model gpt-4o-2024-08-06 --solver gpt-4o-2024-08-06 --batch --budget 200
  pairs of chosen and rejected answers from prompts with constraints:
    spark-submit pipelines/personas.py rewrite --of persona_if --count 1000 --model gpt-4o-2024-08-06
  constraints added to prompts, without a model:
    spark-submit pipelines/personas.py constrain --prompts raw.prompts@v1 --sources flan_v2,wildchat --count 65000
  which prompts state constraints already:
    spark-submit pipelines/personas.py detect --sources wildchat --count 20000 --model gpt-4o-2024-08-06
  what personas are good for: the same templates with and without them
    spark-submit pipelines/personas.py prompts --skill math --count 1000 --model gpt-4o-2024-08-06 --without-personas
    spark-submit pipelines/personas.py diversity --sources persona_math,plain_math --output diversity.json

docs/synthesise.md says more.
"""
PERSONAS, PROMPTS = "raw.personas", "raw.prompts"


def parser(description: str | None) -> argparse.ArgumentParser:
    parsed = argparse.ArgumentParser(
        prog="personas", description=description, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parsed.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, words: str, asks: bool) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=words, description=words, epilog="examples: personas.py --help")
        if asks:
            add_options(one)
        return one

    _ingest(command("ingest", "read personas from files or the hub into raw.personas", False))
    _make(command("make", "have a model write personas: of prompts, or related to personas", True))
    _prompts(
        command("prompts", "have a model write prompts of a skill for personas, and another their solutions", True)
    )
    _rewrite(command("rewrite", "make preference pairs by relaxing one constraint of a prompt", True))
    _constrain(command("constrain", "add compatible constraints to prompts", False))
    _detect(command("detect", "ask a model which prompts state constraints that a program could verify", True))
    _diversity(command("diversity", "measure how different the prompts of sources are", False))
    return parsed


def _ingest(one: argparse.ArgumentParser) -> None:
    add = one.add_argument
    add("--source", required=True, metavar="NAME", help="name of the set; one of the registry brings its licence along")
    add(
        "--input",
        nargs="+",
        metavar="PATH",
        help="files, folders, quoted globs or URLs (default: the registry's hub data set)",
    )
    add("--config", help="configuration of the hub data set (default: persona)", default="persona")
    add("--format", choices=FORMATS, help="of all files (default: by their extensions)")
    add("--field", metavar="FIELD", help="field that holds the persona (default: persona, input persona or text)")
    add("--licence", metavar="SPDX", help="SPDX expression; needed for a set that the registry does not know")


def _make(one: argparse.ArgumentParser) -> None:
    add = one.add_argument
    add(
        "--from",
        dest="texts",
        default=PROMPTS,
        metavar="REF",
        help="raw.prompts or raw.personas of a reference (default: raw.prompts)",
    )
    _sources(one, "of the reference")
    _counted(one, "personas", 1.0, 256)
    add("--source", default="made_personas", metavar="NAME", help="source of the rows (default: made_personas)")


def _prompts(one: argparse.ArgumentParser) -> None:
    add = one.add_argument
    add("--skill", required=True, choices=list(SKILLS), help="what the prompts are for")
    add("--personas", default=PERSONAS, metavar="REF", help="personas of a reference (default: raw.personas)")
    add("--without-personas", action="store_true", help="the same templates without personas, to compare with")
    _sources(one, "of the personas")
    _counted(one, "prompts", 1.0, 2048)
    add("--solver", metavar="MODEL", help="model that writes the solutions (default: none are asked for)")
    add("--source", metavar="NAME", help="source of the rows (default: persona_SKILL, or plain_SKILL without personas)")


def _rewrite(one: argparse.ArgumentParser) -> None:
    add = one.add_argument
    add(
        "--of",
        default="persona_if",
        metavar="SOURCE",
        help="source with constraints and solutions (default: persona_if)",
    )
    add("--prompts", default=PROMPTS, metavar="REF", help="prompts of a reference (default: raw.prompts)")
    add(
        "--completions",
        default="raw.completions",
        metavar="REF",
        help="completions of a reference (default: raw.completions)",
    )
    _counted(one, "pairs", 1.0, 2048)
    add("--solver", metavar="MODEL", help="model that answers the rewritten prompts (default: --model)")
    add("--source", metavar="NAME", help="source of the rows (default: that of --of with _preference)")


def _constrain(one: argparse.ArgumentParser) -> None:
    add = one.add_argument
    add("--prompts", default=PROMPTS, metavar="REF", help="prompts of a reference (default: raw.prompts)")
    _sources(one, "of the reference")
    add("--count", type=positive, required=True, metavar="N", help="how many prompts to make")
    add("--seed", type=int, default=0, help="another one makes other choices (default: 0)")
    add("--source", default="if_augmented", metavar="NAME", help="source of the rows (default: if_augmented)")


def _detect(one: argparse.ArgumentParser) -> None:
    add = one.add_argument
    add("--prompts", default=PROMPTS, metavar="REF", help="prompts of a reference (default: raw.prompts)")
    _sources(one, "of the reference")
    add("--count", type=positive, metavar="N", help="look at so many, chosen by hash (default: all)")
    add("--seed", type=int, default=0, help="another one makes other choices (default: 0)")
    add("--model", required=True, help="model card of the model that is asked")


def _diversity(one: argparse.ArgumentParser) -> None:
    add = one.add_argument
    add("--prompts", default=PROMPTS, metavar="REF", help="prompts of a reference (default: raw.prompts)")
    add("--sources", type=names, required=True, metavar="NAMES", help="sources to compare, on equally many prompts")
    add("--seed", type=int, default=0, help="another one takes other samples (default: 0)")
    add("--output", metavar="FILE", help="write the figures as JSON too")


def _sources(one: argparse.ArgumentParser, of: str) -> None:
    one.add_argument("--sources", type=names, metavar="NAMES", help=f"only these sources {of} (default: all)")


def _counted(one: argparse.ArgumentParser, what: str, temperature: float, tokens: int) -> None:
    """Options of a command that has a model write."""
    add = one.add_argument
    add("--count", type=positive, required=True, metavar="N", help=f"how many {what} to ask for; more extend fewer")
    add("--seed", type=int, default=0, help="another one makes other choices (default: 0)")
    add("--model", required=True, help="model card of the model that writes")
    add("--temperature", type=float, default=temperature, help=f"of the model that writes (default: {temperature:g})")
    add("--max-tokens", type=positive, default=tokens, metavar="N", help=f"of an answer (default: {tokens})")
