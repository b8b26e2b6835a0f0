{{ config(partitions=chosen_mixtures('preference_mixtures')) }}

-- depends_on: {{ ref('int_preference_removals') }} (nothing is published whose removals do not add up)

with mixture as (

    select * from {{ ref('mart_preference_mixture') }}

),

prompts as (

    select * from {{ ref('stg_prompts') }}

),

completions as (

    select * from {{ ref('stg_completions') }}

),

used as (

    select chosen_completion_id as completion_id, completion_source as source from mixture
    union
    select rejected_completion_id, completion_source from mixture

),

-- The id is of the text: where a record stands twice, either will do. Aggregated texts would have to fit into memory.
places as (

    select
        completion_id,
        min({source: source, file: file, row: row, branch: branch, sample: sample}) as place

    from completions
    semi join used using (completion_id, source)
    group by all

),

texts as (

    select
        places.completion_id,
        completions.content

    from places
    inner join completions
        on
            completions.source = places.place.source
            and completions.file = places.place.file
            and completions.row = places.place.row
            and completions.branch = places.place.branch
            and completions.sample = places.place.sample

),

joined as (

    select
        mixture.* exclude (commercial),
        prompts.messages,
        chosen.content as chosen,
        rejected.content as rejected

    from mixture
    -- A text that were missing would break the table's contract, where an inner join would lose the row.
    left join prompts using ({{ row_key() }})
    left join texts as chosen on chosen.completion_id = mixture.chosen_completion_id
    left join texts as rejected on rejected.completion_id = mixture.rejected_completion_id

)

select * from joined
