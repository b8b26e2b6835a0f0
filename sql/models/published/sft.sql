{{ config(partitions=chosen_mixtures()) }}

-- depends_on: {{ ref('int_removals') }} (nothing is published whose removals do not add up)

with mixture as (

    select * from {{ ref('mart_sft_mixture') }}

),

prompts as (

    select * from {{ ref('stg_prompts') }}

),

completions as (

    select * from {{ ref('stg_completions') }}

),

joined as (

    select
        mixture.mixture,
        mixture.position,
        mixture.prompt_id,
        mixture.completion_id,
        mixture.source,
        mixture.revision,
        mixture.file,
        mixture.row,
        mixture.branch,
        if(completions.content is null, null, prompts.messages || [{'role': 'assistant', 'content': completions.content}]) as messages,
        mixture.licence,
        mixture.skill,
        mixture.language,
        mixture.model

    from mixture
    -- A text that were missing would break the table's contract, where an inner join would lose the row.
    left join prompts using ({{ row_key() }})
    left join completions using ({{ row_key() }}, sample)

)

select * from joined
