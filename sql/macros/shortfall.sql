{#
  What each mixture asks of each of its `units` (parts or sources) and what it got, where the two differ; a mixture without
  rows; a source that is not ingested.
#}
{% macro shortfall(parts, candidates, mart, unit) -%}
with mixtures as (

    select * from {{ parts }}

),

candidates as (

    select
        mixture,
        {{ unit }},
        count(*) filter (where reason is null) as eligible_rows

    from {{ candidates }}
    group by all

),

taken as (

    select
        mixture,
        {{ unit }},
        count(*) as rows

    from {{ mart }}
    group by all

),

compared as (

    select
        mixtures.mixture,
        mixtures.{{ unit }},
        {{ asked_rows('coalesce(candidates.eligible_rows, 0)') }} as asked,
        coalesce(taken.rows, 0) as found

    from mixtures
    left join candidates using (mixture, {{ unit }})
    left join taken using (mixture, {{ unit }})

),

empty as (

    select
        mixture,
        'all' as {{ unit }},
        1 as asked,
        0 as found

    from compared
    group by mixture
    having sum(found) = 0

)

select * from compared where found != asked
union all
select mixture, source || ' (not ingested)', 1, 0 from mixtures
anti join {{ ref('stg_sources') }} as sources using (source)
union all
select * from empty
{%- endmacro %}
