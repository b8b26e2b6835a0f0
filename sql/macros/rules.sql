{# A threshold as an exact decimal: shares are compared without rounding, so 8 tokens of 16 are never "more than half". #}
{% macro threshold(name) -%}
    cast('{{ var(name) }}' as decimal(9, 6))
{%- endmacro %}

{# Whether a test instance overlaps a training prompt: more than the threshold of its tokens is matched. #}
{% macro overlaps(matched, total) -%}
    {{ matched }} > {{ threshold('overlap_threshold') }} * {{ total }}
{%- endmacro %}

{# Whether a training set is contaminated by an evaluation: it overlaps more than the threshold of its instances. #}
{% macro contaminated(overlapped, instances) -%}
    {{ overlapped }} > {{ threshold('contamination_threshold') }} * {{ instances }}
{%- endmacro %}

{# A number that looks random and is always the same for the same seed and row, or whatever `of` names. #}
{% macro lottery(seed, purpose, of='source, prompt_id, file, row, branch') -%}
    md5(concat_ws(chr(31), '{{ purpose }}', {{ seed }}, {{ of }}))
{%- endmacro %}

{# Rows that a mixture asks of a source: its rows, or its share of those eligible, or all; times the mixture's fraction. #}
{% macro asked_rows(eligible) -%}
    round(mixtures.fraction * coalesce(mixtures.rows, mixtures.share * {{ eligible }}, {{ eligible }}))
{%- endmacro %}
