{#
  Materialisation `warehouse`: the model's rows become one snapshot of the warehouse table that has the model's schema
  and name. The plugin writes them to files, commits those to an audit branch, where they are held against the table's
  contract, and moves main forward. Until that last step nobody sees anything of it.

  config: partitions: the values of the table's partition column that this run replaces, also where it has no rows for one.
#}
{% materialization warehouse, adapter='duckdb' %}
    {%- set upstream = ancestors(model.unique_id) -%}
    {%- do refuse_untested(upstream) -%}
    {%- set target_relation = this.incorporate(type='view') -%}
    {{ run_hooks(pre_hooks) }}
    {%- do adapter.store_relation('warehouse', target_relation, [], '', 'parquet', {
        'sql': compiled_code,
        'partitions': config.require('partitions'),
        'inputs': warehouse_tables(upstream),
        'arguments': {
            'mixtures': config.require('partitions'),
            'duplicates': chosen_duplicates(),
            'shortfall': var('shortfall'),
            'stale': var('stale'),
            'overlap_threshold': var('overlap_threshold'),
            'contamination_threshold': var('contamination_threshold'),
        },
    }) -%}
    {%- call noop_statement('main', 'PUBLISHED') -%}{%- endcall -%}
    {{ run_hooks(post_hooks) }}
    {{ return({'relations': [target_relation]}) }}
{% endmaterialization %}

{# Ids of all nodes that a node is made of. #}
{% macro ancestors(unique_id) %}
    {%- set found = [] -%}
    {%- set open = [unique_id] -%}
    {#- Jinja has no while: every node is opened at most once, so this many rounds are enough. -#}
    {%- for _ in range(graph.nodes | length + 1) if open -%}
        {%- set node = graph.nodes.get(open.pop()) -%}
        {%- for parent in (node.depends_on.nodes if node else []) if parent not in found -%}
            {%- do found.append(parent) -%}
            {%- do open.append(parent) -%}
        {%- endfor -%}
    {%- endfor -%}
    {{ return(found) }}
{% endmacro %}

{# Warehouse tables among these nodes. #}
{% macro warehouse_tables(unique_ids) %}
    {%- set tables = [] -%}
    {%- for unique_id in unique_ids if unique_id in graph.sources -%}
        {%- set source = graph.sources[unique_id] -%}
        {%- do tables.append(source.schema ~ '.' ~ source.identifier) -%}
    {%- endfor -%}
    {{ return(tables | sort) }}
{% endmacro %}

{#
  Publishing is only possible when everything it is made of, and all tests of that, are part of the same `dbt build`:
  dbt then skips it when one of them fails. `dbt run` runs no tests.
#}
{% macro refuse_untested(upstream) %}
    {%- set needed = upstream | reject('in', graph.sources) | list -%}
    {%- for node in graph.nodes.values() if node.resource_type == 'test' and node.depends_on.nodes -%}
        {%- if node.depends_on.nodes | reject('in', upstream) | list | length == 0 -%}
            {%- do needed.append(node.unique_id) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- set missing = needed | reject('in', selected_resources) | list -%}
    {%- if flags.WHICH != 'build' or flags.EMPTY or missing -%}
        {{ exceptions.raise_compiler_error(
            "Nothing was published: " ~ this ~ " is published only by a run that builds and tests all that it is made of. "
            ~ "Run: dbt build --select +" ~ model.name
            ~ ((". Missing here: " ~ missing[:3] | join(', ')) if missing else "")
        ) }}
    {%- endif -%}
{% endmacro %}

{# A tag never moves: a run that would publish a table under one that the table has ends before anything is built. #}
{% macro refuse_taken_tag() %}
    {%- if execute and flags.WHICH == 'build' -%}
        {%- set tagged = run_query('select name from meta.tagged').columns[0].values() -%}
        {%- for node in graph.nodes.values() if node.unique_id in selected_resources and node.config.materialized == 'warehouse' -%}
            {%- set name = node.schema ~ '.' ~ node.alias -%}
            {%- if name in tagged -%}
                {{ exceptions.raise_compiler_error(
                    name ~ " already has the tag '" ~ var('tag') ~ "', and a tag never moves. Nothing was built: choose another name, "
                    ~ "--vars '{tag: …}', or read what is there as " ~ name ~ "@" ~ var('tag') ~ "."
                ) }}
            {%- endif -%}
        {%- endfor -%}
    {%- endif -%}
{% endmacro %}
