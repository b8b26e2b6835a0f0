{{ config(materialized='view') }}

with parts as (

    select * from {{ ref('int_preference_parts') }}

),

pairless as (

    select * from {{ ref('int_pairless') }}

),

candidates as (

    select * from {{ ref('int_preference_candidates') }} where reason is not null

),

unioned as (

    select
        parts.mixture,
        parts.part,
        pairless.source as completion_source,
        pairless.group_id,
        pairless.prompt_source as source,
        pairless.prompt_file as file,
        pairless.row,
        pairless.branch,
        pairless.prompt_id,
        null as chosen_completion_id,
        null as rejected_completion_id,
        pairless.reason,
        pairless.detail

    from parts
    inner join pairless using (source, judge, policy, seed)

    union all

    select
        mixture,
        part,
        completion_source,
        group_id,
        source,
        file,
        row,
        branch,
        prompt_id,
        chosen_completion_id,
        rejected_completion_id,
        reason,
        detail

    from candidates

)

select * from unioned
