-- Each pattern matches its example, with one of the names, and no pattern matches any counter-example.
with patterns as (

    select * from {{ ref('self_statements') }}

),

tried as (

    select
        patterns.rule,
        others.rule as text_rule,
        bool_or(regexp_matches(lower(others.example), {{ self_statement('patterns.pattern', 'names.name') }})) as matches_example,
        bool_or(
            regexp_matches(lower(others.counter_example), {{ self_statement('patterns.pattern', 'names.name') }})
        ) as matches_counter_example

    from patterns
    inner join {{ ref('ai_names') }} as names on contains(patterns.kinds, names.kind)
    cross join patterns as others
    group by all

)

select * from tried
where matches_counter_example or (rule = text_rule and not matches_example)
