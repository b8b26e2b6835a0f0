with sets as (

    select * from {{ ref('int_contaminated_sets') }} where contaminated

),

pairs as (

    select * from {{ ref('stg_contamination') }} where is_overlap

),

prompts as (

    select prompt_id, {{ row_key() }} from {{ ref('stg_prompts') }}

),

whole_sets as (

    select
        source,
        string_agg(
            format('{}: {:,} of {:,} instances', eval_set, overlapped_ngram + overlapped_exact, instances),
            '; ' order by eval_set
        ) as detail

    from sets
    where action = 'set'
    group by all

),

matching_rows as (

    select
        pairs.source,
        pairs.file,
        pairs.row,
        pairs.branch,
        pairs.prompt_id,
        string_agg(distinct pairs.eval_set, '; ' order by pairs.eval_set) as detail

    from pairs
    inner join sets using (source, eval_set)
    where sets.action = 'rows'
    group by all

),

unioned as (

    select
        prompts.source,
        prompts.file,
        prompts.row,
        prompts.branch,
        'contaminated_set' as reason,
        whole_sets.detail

    from prompts
    inner join whole_sets using (source)

    union all

    select
        prompts.source,
        prompts.file,
        prompts.row,
        prompts.branch,
        'contaminated_row' as reason,
        matching_rows.detail

    from prompts
    inner join matching_rows using ({{ row_key() }}, prompt_id)

)

select * from unioned
