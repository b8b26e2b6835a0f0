with prompts as (

    select * from {{ ref('stg_prompts') }}

),

removals as (

    select * from {{ ref('int_row_removals') }}

),

responses as (

    select * from {{ ref('int_responses') }} where reason is null

),

-- One response a prompt: the one that the source prefers, then its best score, then its first.
chosen as (

    select
        {{ row_key() }},
        min_by(
            {sample: sample, completion_id: completion_id, licence: licence, model: model},
            (preference is distinct from 'chosen', -coalesce(score, '-infinity'::double), sample)
        ) as response

    from responses
    group by all

),

joined as (

    select
        prompts.source,
        prompts.revision,
        prompts.file,
        prompts.row,
        prompts.branch,
        prompts.prompt_id,
        prompts.skill,
        prompts.language,
        prompts.licence as prompt_licence,
        chosen.response.sample,
        chosen.response.completion_id,
        chosen.response.model,
        chosen.response.licence as completion_licence

    from prompts
    anti join removals using ({{ row_key() }})
    inner join chosen using ({{ row_key() }})

)

select * from joined
