with examples as (

    select
        source,
        eval_set,
        max_by(
            {instance_id: instance_id, file: file, row: row, matched_tokens: matched_tokens, total_tokens: total_tokens},
            (matched_tokens / total_tokens, instance_id, file, row)
        ) as example

    from {{ ref('stg_contamination') }}
    where is_overlap
    group by all

),

removed as (

    select
        source,
        count(*) filter (where reason = 'contaminated_row') as rows_removed,
        count(*) filter (where reason = 'contaminated_set') as set_rows_removed

    from {{ ref('int_contaminated_rows') }}
    group by all

),

prompts as (

    select
        source,
        count(*) as prompts

    from {{ ref('stg_prompts') }}
    group by all

)

select
    sets.source,
    sets.eval_set,
    sets.suite,
    sets.instances,
    sets.overlapped_ngram,
    sets.overlapped_exact,
    round(100.0 * (sets.overlapped_ngram + sets.overlapped_exact) / sets.instances, 2) as percent_overlapped,
    sets.contaminated,
    sets.action,
    prompts.prompts as rows_of_source,
    coalesce(removed.rows_removed, 0) + coalesce(removed.set_rows_removed, 0) as rows_removed_of_source,
    examples.example

from {{ ref('int_contaminated_sets') }} as sets
inner join prompts using (source)
inner join examples using (source, eval_set)
left join removed using (source)
order by percent_overlapped desc, sets.source, sets.eval_set
