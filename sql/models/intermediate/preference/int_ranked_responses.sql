with draws as (

    select distinct source, judge, policy, seed from {{ ref('int_preference_parts') }}

),

responses as (

    select * from {{ ref('int_preference_responses') }}

),

ratings as (

    select * from {{ ref('int_ratings') }}

),

-- A source's own ranking is one of the responses of a record; a judge's one of all responses to a prompt.
joined as (

    select
        draws.judge,
        draws.policy,
        draws.seed,
        responses.source,
        if(draws.judge = '', concat_ws(chr(31), responses.file, responses.row, responses.branch), responses.prompt_id) as group_id,
        responses.* exclude (source, policy, licence),
        -- What a judge says is bound by its terms, and a pair is what it says of two responses.
        if(draws.judge = '', responses.licence, concat_ws(' AND ', responses.licence, ratings.licence)) as licence,
        responses.policy as response_policy,
        case
            when draws.judge != '' then ratings.score
            when responses.preference is not null then if(responses.preference = 'chosen', 1, 0)
            else responses.score
        end as value,
        if(draws.judge = '', responses.score, ratings.score) as shown_score

    from draws
    inner join responses using (source)
    left join ratings using (judge, completion_id)
    where draws.policy != 'off' or responses.policy is distinct from 'on'

)

select * exclude (preference, score) from joined
