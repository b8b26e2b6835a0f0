{% set pair = 'part, prompt_id, chosen_completion_id, rejected_completion_id, completion_source, group_id' %}
with candidates as (

    select * from {{ ref('int_preference_candidates') }} where reason is null

),

mixtures as (

    select * from {{ ref('int_preference_parts') }}

),

drawn as (

    select
        *,
        row_number() over (partition by mixture, part order by {{ lottery('seed', 'draw', pair) }}, group_id) as place,
        count(*) over (partition by mixture, part) as eligible_rows

    from candidates

),

-- One seed draws the same order for every fraction, so a smaller stratum lies within each larger one.
taken as (

    select drawn.*

    from drawn
    inner join mixtures using (mixture, part)
    where place <= {{ asked_rows('eligible_rows') }}

),

positioned as (

    select
        mixture,
        row_number() over (partition by mixture order by {{ lottery('seed', 'position', pair) }}, part, group_id) - 1 as position,
        part,
        prompt_id,
        chosen_completion_id,
        rejected_completion_id,
        source,
        revision,
        file,
        row,
        branch,
        completion_source,
        chosen_model,
        rejected_model,
        chosen_score,
        rejected_score,
        if(judge = '', null, judge) as judge,
        licence,
        commercial,
        skill,
        language

    from taken

)

select * from positioned
