{#
  One row a combination of licences in `columns` of `relation`: the SPDX expression of them all, strictest first, and what
  it permits. An expression is `A AND (B OR C)`: each clause binds, of the alternatives of a clause the most permissive counts.
#}
{% macro combined_licences(relation, columns) -%}
{%- set key = columns | join(', ') -%}
with candidates as (

    select distinct {{ key }} from {{ relation }}

),

licences as (

    select * from {{ ref('licences') }}

),

clauses as (

    select
        *,
        unnest(list_distinct(flatten([
            {%- for column in columns %}
            string_split({{ column }}, ' AND '){{ ',' if not loop.last }}
            {%- endfor %}
        ]))) as clause

    from candidates

),

alternatives as (

    select
        clauses.*,
        unnest(string_split(trim(clause, '()'), ' OR ')) as licence

    from clauses

),

easiest as (

    select
        {%- for column in columns %}
        alternatives.{{ column }},
        {%- endfor %}
        trim(alternatives.clause, '()') as clause,
        min_by(licences, (licences.strictness, licences.licence)) as permits,
        list(alternatives.licence) filter (where licences.licence is null) as unknown

    from alternatives
    left join licences using (licence)
    group by all

),

combined as (

    select
        {{ key }},
        string_agg(
            case when contains(clause, ' OR ') then '(' || clause || ')' else clause end,
            ' AND ' order by permits.strictness desc, clause
        ) as clauses,
        case when count(*) = 1 then trim(clauses, '()') else clauses end as licence,
        bool_and(coalesce(permits.commercial, false)) as commercial,
        bool_or(permits.attribution) as attribution,
        bool_or(permits.share_alike) as share_alike,
        coalesce(
            list_sort(list(distinct permits.model_output_terms) filter (where permits.model_output_terms is not null)),
            []
        ) as model_output_terms,
        coalesce(flatten(list(unknown) filter (where unknown is not null)), []) as unknown_licences

    from easiest
    group by all

)

select * exclude (clauses) from combined
{%- endmacro %}
