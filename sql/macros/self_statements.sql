{#
  Responses that speak of their own model or its maker. Only statements in the first person count: an answer to a question
  about such a company is none, and neither is a refusal "as an AI" that names nobody.

  Names and patterns are constants of the query, not a seed: DuckDB compiles a constant pattern once, but one from a table
  for every row. Every rule has an example that it must match and one that no rule may match (sql/tests). In patterns,
  which are RE2 and ignore case, {made} stands for words such as trained and developed, and {name} for the names of `kinds`.
#}
{% macro ai_names() %}
    {{ return({
        'maker': [
            'openai', 'anthropic', 'google', 'deepmind', 'meta ai', 'microsoft', 'mistral ai', 'cohere', 'alibaba',
            'stability ai', 'laion', 'hugging face', 'lmsys', 'allen institute',
        ],
        'model': ['chatgpt', 'gpt-?[34]', 'vicuna', 'mixtral', 'qwen', 'deepseek', 'open ?assistant'],
        'word': ['claude', 'bard', 'gemini', 'llama', 'alpaca', 'mistral', 'copilot', 'falcon', 'grok'],
        'limit': ['my knowledge cut-?off', 'my training cut-?off', 'my last knowledge update'],
    }) }}
{% endmacro %}

{% macro self_statement_rules() %}
    {{ return([
        {
            'rule': 'an_ai_made_by', 'kinds': ['maker', 'model'],
            'pattern': "(?:i am|i['’]m|as) (?:an?|the) (?:[\\w-]+,? ){0,5}(?:ai|intelligence|model|assistant|chatbot|bot|program),? "
                ~ "(?:that |which |who )?(?:is |was |has been |were )?{made} (?:by|at) (?:the )?(?:\\w+ ){0,4}{name}",
            'example': 'As an AI language model developed by OpenAI, I cannot do that.',
            'counter_example': 'ChatGPT is an AI language model developed by OpenAI.',
        },
        {
            'rule': 'i_was_made_by', 'kinds': ['maker'],
            'pattern': "\\bi(?: was| have been| am|['’]ve been|['’]m) (?:\\w+ly )?{made} by (?:the )?(?:\\w+ ){0,4}{name}",
            'example': 'I was created by a team at Anthropic to be helpful.',
            'counter_example': 'I was told that the phone was developed by Google.',
        },
        {
            'rule': 'maker_made_me', 'kinds': ['maker'],
            'pattern': "{name},? (?:which |who |that )?(?:has |have |had )?{made} me\\b",
            'example': 'OpenAI trained me on a large body of text.',
            'counter_example': 'Microsoft made Windows, and it made me laugh.',
        },
        {
            'rule': 'my_maker', 'kinds': ['maker'],
            'pattern': "\\bmy (?:creators?|developers?|makers?|parent company)(?: is| are|,| at| from)+ (?:the )?(?:\\w+ ){0,3}{name}",
            'example': 'My developers at OpenAI have not told me.',
            'counter_example': 'My developer account at work is separate from the one at Google.',
        },
        {
            'rule': 'i_am_model', 'kinds': ['model'],
            'pattern': "\\b(?:i am|i['’]m|my name is|i am called|call me) (?:a |an |the |actually |called )?(?:\\w+['’]s )?{name}"
                ~ "(?:[^\\w'’ -]|$| by\\b| and i\\b|,? an?\\b|,? the\\b)",
            'example': 'Hello, I am ChatGPT, and I can help you.',
            'counter_example': "I am ChatGPT's biggest fan.",
        },
        {
            'rule': 'as_model_i', 'kinds': ['model'],
            'pattern': "\\bas {name},? (?:i|my)\\b",
            'example': 'As ChatGPT, I have no feelings.',
            'counter_example': 'As ChatGPT grew popular, I tried it.',
        },
        {
            'rule': 'i_am_named_ai', 'kinds': ['word'],
            'pattern': "\\b(?:i am|i['’]m|my name is|call me|as) {name},? (?:an?|the|your) (?:[\\w-]+ ){0,4}(?:ai|model|assistant|chatbot)\\b",
            'example': "I'm Claude, an AI assistant.",
            'counter_example': 'My name is Claude, a baker from Lyon.',
        },
        {
            'rule': 'my_limits', 'kinds': ['limit'],
            'pattern': '{name}',
            'example': 'I cannot know that, since my knowledge cutoff is in 2021.',
            'counter_example': 'The knowledge cutoff of a model is the date of its last text.',
        },
    ]) }}
{% endmacro %}

{# Whether a text names any of them: one cheap pass, so that few texts meet the rules. #}
{% macro names_an_ai(text) -%}
    regexp_matches({{ text }}, '{{ ai_names().values() | sum(start=[]) | join('|') }}', 'i')
{%- endmacro %}

{# Whether a rule holds for a text. #}
{% macro states(rule, text) -%}
    {%- set names = [] -%}
    {%- for kind in rule.kinds -%}{%- do names.extend(ai_names()[kind]) -%}{%- endfor -%}
    {%- set made = '(?:made|created|developed|trained|built|designed|programmed)(?: and \\w+)?' -%}
    {%- set pattern = rule.pattern | replace('{made}', made) | replace('{name}', '\\b(?:' ~ names | join('|') ~ ')\\b') -%}
    regexp_matches({{ text }}, '{{ pattern | replace("'", "''") }}', 'i')
{%- endmacro %}

{# The first rule that holds for a text, null where none does. #}
{% macro first_self_statement(text) -%}
    case
        {%- for rule in self_statement_rules() %}
        when {{ states(rule, text) }} then '{{ rule.rule }}'
        {%- endfor %}
    end
{%- endmacro %}
