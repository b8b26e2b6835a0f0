"""Seed instructions, one or two for each of IFEval's 25 constraints: examples of how people put such a constraint into a request."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Seed:
    """A request that states one constraint, with the arguments that it states."""

    id: str
    text: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


SEEDS = (
    Seed(
        "keywords:existence",
        'I keep bees on a flat roof. Tell me how to get a colony through a wet spring, and use the words "patience" and "drizzle" somewhere.',
        {"keywords": ["patience", "drizzle"]},
    ),
    Seed(
        "keywords:existence",
        'Suggest a name and a motto for a rowing club that meets before sunrise; the word "lantern" has to appear in your reply.',
        {"keywords": ["lantern"]},
    ),
    Seed(
        "keywords:frequency",
        'Explain to an apprentice why a dovetail joint holds without glue. Say the word "grain" at least 4 times.',
        {"keyword": "grain", "frequency": 4, "relation": "at least"},
    ),
    Seed(
        "keywords:frequency",
        'Describe the night shift at a bakery, with the word "oven" in it fewer than 3 times.',
        {"keyword": "oven", "frequency": 3, "relation": "less than"},
    ),
    Seed(
        "keywords:forbidden_words",
        'What makes a good hiking boot? Do not use the words "comfortable" or "quality", every shop says them.',
        {"forbidden_words": ["comfortable", "quality"]},
    ),
    Seed(
        "keywords:letter_frequency",
        "Write a weather report for a made-up island in which the letter z turns up at least 6 times.",
        {"letter": "z", "let_frequency": 6, "let_relation": "at least"},
    ),
    Seed(
        "keywords:letter_frequency",
        "Tell me in a short note why our choir needs a new piano. The letter q may occur less than 2 times.",
        {"letter": "q", "let_frequency": 2, "let_relation": "less than"},
    ),
    Seed(
        "length_constraints:number_sentences",
        "Sum up the rules of curling for somebody who has never seen ice. Keep it to less than 7 sentences.",
        {"relation": "less than", "num_sentences": 7},
    ),
    Seed(
        "length_constraints:number_sentences",
        "Argue that our library should lend tools as well as books, in at least 9 sentences.",
        {"relation": "at least", "num_sentences": 9},
    ),
    Seed(
        "length_constraints:number_paragraphs",
        "Compare ferries and bridges as a way to reach a small island. I want 3 paragraphs, with *** between each and the next.",
        {"num_paragraphs": 3},
    ),
    Seed(
        "length_constraints:number_words",
        "Draft the text for a museum label on a rusty plough, in less than 80 words.",
        {"relation": "less than", "num_words": 80},
    ),
    Seed(
        "length_constraints:number_words",
        "My grandmother wants to know what a podcast is. Write her a letter of at least 250 words.",
        {"relation": "at least", "num_words": 250},
    ),
    Seed(
        "length_constraints:nth_paragraph_first_word",
        'Tell the story of a lost glove in 4 paragraphs with a blank line between them. Paragraph 3 should start with the word "meanwhile".',
        {"num_paragraphs": 4, "nth_paragraph": 3, "first_word": "meanwhile"},
    ),
    Seed(
        "detectable_content:number_placeholders",
        "I need a form letter to thank volunteers after a flood. Leave at least 5 placeholders in square brackets, such as [street].",
        {"num_placeholders": 5},
    ),
    Seed(
        "detectable_content:postscript",
        "Write to my landlord about the broken boiler and add at the end a postscript that begins with P.S.",
        {"postscript_marker": "P.S."},
    ),
    Seed(
        "detectable_format:number_bullet_lists",
        "What do I pack for two days in a mountain hut? Answer in exactly 6 bullet points, each line beginning with an asterisk.",
        {"num_bullets": 6},
    ),
    Seed(
        "detectable_format:number_bullet_lists",
        "Give me precisely 3 bullet points, written with Markdown's * at the start, on why sourdough rises.",
        {"num_bullets": 3},
    ),
    Seed(
        "detectable_format:constrained_response",
        "Would a sundial work on the Moon? Choose one of these to answer: My answer is yes. / My answer is no. / My answer is maybe.",
    ),
    Seed(
        "detectable_format:number_highlighted_sections",
        "Explain how a lock on a canal works and highlight at least 3 key passages with asterisks, *like this*.",
        {"num_highlights": 3},
    ),
    Seed(
        "detectable_format:multiple_sections",
        "Plan a street festival for our block. Split the plan into 4 sections, headed Part 1, Part 2 and so on.",
        {"section_spliter": "Part", "num_sections": 4},
    ),
    Seed(
        "detectable_format:json_format",
        "List the planets with their number of moons. The whole answer should be JSON and nothing besides.",
    ),
    Seed(
        "detectable_format:title",
        "Write a poem about a tram depot in winter and give it a title in double angle brackets, as in <<title>>.",
    ),
    Seed(
        "combination:two_responses",
        "How would you greet new neighbours? I would like two different suggestions, with six asterisks between them: ******",
    ),
    Seed(
        "combination:repeat_prompt",
        "Why do cats knead blankets? First say this request again word for word, then answer it.",
        {"prompt_to_repeat": "Why do cats knead blankets?"},
    ),
    Seed(
        "startend:end_checker",
        "Teach me to tie a bowline. The very last thing I read should be the sentence: Now try it blindfolded.",
        {"end_phrase": "Now try it blindfolded."},
    ),
    Seed(
        "startend:end_checker",
        'Make a toast for a retiring bus driver and finish with the exact words "All change, please."',
        {"end_phrase": "All change, please."},
    ),
    Seed(
        "startend:quotation",
        "What would a lighthouse say if it could speak? Wrap everything that you write in double quotation marks.",
    ),
    Seed(
        "change_case:capital_word_frequency",
        "Write a notice for the allotment gate about closing the water tap, with at least 4 words in all capital letters.",
        {"capital_frequency": 4, "capital_relation": "at least"},
    ),
    Seed(
        "change_case:english_capital",
        "Announce the winner of a pumpkin contest over the loudspeaker: in English, and everything in capital letters.",
    ),
    Seed(
        "change_case:english_lowercase",
        "what is a quiet hobby for a small flat? answer in English and in lowercase only, without a single capital letter.",
    ),
    Seed(
        "punctuation:no_comma",
        "Describe the inside of a piano to a curious child and do not use a single comma.",
    ),
    Seed(
        "language:response_language",
        "How do I ask for the bill politely, and how much do I tip? Reply entirely in Italian.",
        {"language": "it"},
    ),
    Seed(
        "language:response_language",
        "Write a short birthday greeting for a colleague who loves orchids. The whole text must be in Finnish.",
        {"language": "fi"},
    ),
)
