with completions as (

    select * from {{ ref('stg_completions') }}

),

best_models as (

    select * from {{ ref('best_models') }}

),

findings as (

    select * from {{ ref('int_text_findings') }}

),

-- Of a set of many models' responses only those of its best model are taken; a response of an unnamed model is not.
other_models as (

    select distinct
        completions.source,
        completions.model

    from completions
    semi join best_models using (source)
    anti join best_models
        on
            best_models.source = completions.source
            and completions.model glob best_models.model

),

of_response as (

    select * from findings where sample is not null

),

of_earlier_turns as (

    select * from findings where sample is null

),

judged as (

    select
        completions.source,
        completions.file,
        completions.row,
        completions.branch,
        completions.sample,
        completions.completion_id,
        completions.licence,
        completions.model,
        completions.preference,
        completions.score,
        case
            when completions.preference = 'rejected' then 'rejected_response'
            when of_response.reason = 'empty_response' then 'empty_response'
            when other_models.source is not null then 'other_model'
            else coalesce(of_response.reason, of_earlier_turns.reason)
        end as why,
        case why
            when 'other_model' then coalesce(completions.model, 'not named')
            when 'speaks_of_model' then coalesce(of_response.detail, 'earlier turn: ' || of_earlier_turns.detail)
        end as detail

    from completions
    left join other_models
        on
            completions.source = other_models.source
            and completions.model is not distinct from other_models.model
    left join of_response
        on
            {{ same_row('completions', 'of_response') }}
            and completions.sample = of_response.sample
    left join of_earlier_turns
        on {{ same_row('completions', 'of_earlier_turns') }}

)

select * exclude (why, detail), why as reason, detail from judged
