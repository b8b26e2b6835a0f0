{# Schemas are named as in the models' configuration, without the target's name in front. #}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ custom_schema_name or target.schema }}
{%- endmacro %}

{# The mixtures of a stage that this run builds, as a list: `--vars '{mixtures: quickstart}'` is a list of one. #}
{% macro chosen_mixtures(variable='mixtures') -%}
    {%- set chosen = var(variable) -%}
    {{ return([chosen] if chosen is string else chosen) }}
{%- endmacro %}

{# Which duplicates are left out. An `off` without quotes is what YAML reads as false. #}
{% macro chosen_duplicates() -%}
    {%- set chosen = 'off' if var('duplicates') is false else var('duplicates') -%}
    {%- if chosen not in ['exact', 'near', 'off'] -%}
        {{ exceptions.raise_compiler_error("duplicates is " ~ chosen ~ ": choose exact, near or off") }}
    {%- endif -%}
    {{ return(chosen) }}
{%- endmacro %}

{# A list of names as a SQL list of strings. #}
{% macro string_list(names) -%}
    [{% for name in names %}'{{ name | replace("'", "''") }}'{{ ', ' if not loop.last }}{% endfor %}]::varchar[]
{%- endmacro %}

{# The words of a column, with spaces between, as a list; none of an empty one. #}
{% macro words(column) -%}
    list_filter(string_split(coalesce({{ column }}, ''), ' '), lambda word: word != '')
{%- endmacro %}

{# Columns that name a row of a source. #}
{% macro row_key() %}source, file, row, branch{% endmacro %}

{# Whether two tables speak of the same row, where `using` would be ambiguous. #}
{% macro same_row(one, other) -%}
    {% for column in ['source', 'file', 'row', 'branch'] -%}
    {{ one }}.{{ column }} = {{ other }}.{{ column }}{{ ' and ' if not loop.last }}
    {%- endfor %}
{%- endmacro %}
