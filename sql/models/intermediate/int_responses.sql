with completions as (

    select * from {{ ref('stg_completions') }}

),

best_models as (

    select * from {{ ref('best_models') }}

),

self_statements as (

    select * from {{ ref('int_self_statements') }}

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

said_by_response as (

    select {{ row_key() }}, sample, detail as said from self_statements where sample is not null

),

said_before as (

    select {{ row_key() }}, detail as said from self_statements where sample is null

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
            when not regexp_matches(completions.content, '[^\s\p{Z}\p{C}]') then 'empty_response'
            when other_models.source is not null then 'other_model'
            when coalesce(said_by_response.said, said_before.said) is not null then 'speaks_of_model'
        end as reason,
        case reason
            when 'other_model' then coalesce(completions.model, 'not named')
            when 'speaks_of_model' then coalesce(said_by_response.said, said_before.said)
        end as detail

    from completions
    left join other_models
        on
            completions.source = other_models.source
            and completions.model is not distinct from other_models.model
    left join said_by_response
        on
            {{ same_row('completions', 'said_by_response') }}
            and completions.sample = said_by_response.sample
    left join said_before
        on {{ same_row('completions', 'said_before') }}

)

select * from judged
