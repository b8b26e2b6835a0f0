{#
  CTEs `…_repeats` for each kind of duplicates, and `repeats` (mixture, key, cluster_id, reason) with the rows of the CTE
  `licensed` that repeat others of their mixture. It has `forbidden` rows, which do not count, and is joined with the CTE
  `duplicates`. Of a cluster `allowed` rows stay, the first in `order`: at most so many have the same prompt.
#}
{% macro repeats(key, order, allowed='1', kinds=none) -%}
{%- set kinds = {'off': [], 'exact': ['exact'], 'near': ['exact', 'near']}[chosen_duplicates()] if kinds is none else kinds -%}
{%- for kind in kinds %}
{{ kind }}_repeats as (

    select
        licensed.mixture,
        {%- for column in key %}
        licensed.{{ column }},
        {%- endfor %}
        duplicates.cluster_id

    from licensed
    inner join duplicates using ({{ row_key() }})
    {%- for earlier in kinds[:loop.index0] %}
    anti join {{ earlier }}_repeats using (mixture, {{ key | join(', ') }})
    {%- endfor %}
    where
        duplicates.kind = '{{ kind }}'
        and not licensed.forbidden
        and licensed.skill is distinct from 'identity'
    -- The keeper of the cluster, or where it is not in this mixture the first that is. A row that repeats one of the sets
    -- it was compared with is left out wherever that one is.
    qualify row_number() over (
        partition by licensed.mixture, duplicates.cluster_id
        order by {{ order }}
    ) > {{ allowed }} or (duplicates.against_others and not duplicates.keeper)

),
{% endfor %}
repeats as (

    {% for kind in kinds %}
    select *, '{{ kind }}_duplicate' as reason from {{ kind }}_repeats
    {{ 'union all' if not loop.last }}
    {% else %}
    select mixture, {{ key | join(', ') }}, null::varchar as cluster_id, null::varchar as reason from licensed where false
    {% endfor %}

)
{%- endmacro %}
