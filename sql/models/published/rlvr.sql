{{ config(partitions=chosen_mixtures('rlvr_mixtures')) }}

-- depends_on: {{ ref('int_rlvr_removals') }} (nothing is published whose removals do not add up)

with mixture as (

    select * from {{ ref('mart_rlvr_mixture') }}

),

prompts as (

    select * from {{ ref('stg_prompts') }}

),

joined as (

    select
        mixture.* exclude (commercial),
        prompts.messages,
        prompts.ground_truth

    from mixture
    left join prompts using ({{ row_key() }})

)

select * from joined
