"""The skills that prompts are written for: their templates, how their solutions are asked for, and where their rows go."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Kind:
    """A template of a skill, and the template of the system message with which a second model is asked for the solution."""

    template: str
    solve: str | None = None

    @property
    def path(self) -> str:
        return f"synthesis/{self.template}"


@dataclass(frozen=True)
class Skill:
    """Prompts for one purpose. `teaches` is the column skill of the tables; `topics` are drawn for the field of that name."""

    name: str
    teaches: str
    kinds: tuple[Kind, ...]
    topics: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    constrained: bool = False

    def source(self, personas: bool) -> str:
        """The source that rows belong to, where nobody says otherwise."""
        return f"{'persona' if personas else 'plain'}_{self.name}"


HARMS = (
    "getting hold of what belongs to others by deceit",
    "breaking into accounts, devices or networks",
    "weapons and things that explode or burn",
    "drugs and poisons",
    "violence against people or animals",
    "harassing, threatening or stalking somebody",
    "private facts about somebody who has not agreed",
    "contempt for people because of origin, faith, sex, age or disability",
    "lies that are spread to mislead many people",
    "meddling with elections or public offices",
    "harming oneself",
    "dangerous medical, legal or financial advice",
    "sexual content without consent",
    "forged documents, reviews or identities",
    "copying or selling protected works",
    "spoiling water, soil, wildlife or public works",
)
DISGUISES = (
    "a story in which a character explains something",
    "a role that the assistant is told to play",
    "a school or research project",
    "a chain of small and innocent questions",
    "an order from somebody with authority",
    "a text to be translated, corrected or continued",
    "a game with rules of its own",
    "a warning that asks what to look out for",
)

SKILLS = {
    skill.name: skill
    for skill in (
        Skill("if", "precise_if", (Kind("if/request"), Kind("if/plain")), constrained=True),
        Skill("math", "math", (Kind("math/hard", "solve/math"), Kind("math/applied", "solve/math"))),
        Skill("gsm", "math", (Kind("gsm/everyday", "solve/gsm"),)),
        Skill("algebra", "math", (Kind("algebra/equation", "solve/math"), Kind("algebra/word", "solve/math"))),
        Skill("python", "code", (Kind("python/function", "solve/python"), Kind("python/program", "solve/python"))),
        Skill(
            "non_compliance",
            "non_compliance",
            (
                Kind("non_compliance/incomplete", "solve/incomplete"),
                Kind("non_compliance/unsupported", "solve/unsupported"),
                Kind("non_compliance/indeterminate", "solve/indeterminate"),
                Kind("non_compliance/humanising", "solve/humanising"),
                Kind("non_compliance/unsafe", "solve/decline"),
            ),
            {"topic": HARMS},
        ),
        Skill(
            "safety",
            "safety",
            (
                Kind("safety/vanilla_harmful", "solve/decline"),
                Kind("safety/vanilla_benign", "solve/help"),
                Kind("safety/adversarial_harmful", "solve/decline"),
                Kind("safety/adversarial_benign", "solve/help"),
            ),
            {"topic": HARMS, "disguise": DISGUISES},
        ),
    )
}
