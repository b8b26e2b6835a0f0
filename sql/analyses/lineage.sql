with chosen as (

    select * from {{ ref('sft') }}
    where mixture = '{{ var("mixture", chosen_mixtures()[0]) }}' and position = {{ var('position', 0) }}

)

select
    chosen.*,
    sources.location,
    sources.parents,
    sources.models as models_of_source,
    prompts.licence as prompt_licence,
    completions.licence as completion_licence,
    completions.sample,
    (
        select list({kind: duplicates.kind, cluster_id: duplicates.cluster_id, keeper: duplicates.keeper} order by kind)
        from {{ ref('stg_duplicates') }} as duplicates
        where {{ same_row('duplicates', 'chosen') }}
    ) as clusters,
    (
        select list({eval_set: evidence.eval_set, instance_id: evidence.instance_id, is_overlap: evidence.is_overlap} order by instance_id)
        from {{ ref('stg_contamination') }} as evidence
        where {{ same_row('evidence', 'chosen') }}
    ) as evidence

from chosen
inner join {{ ref('stg_sources') }} as sources using (source)
inner join {{ ref('stg_prompts') }} as prompts on {{ same_row('prompts', 'chosen') }}
inner join {{ ref('stg_completions') }} as completions
    on {{ same_row('completions', 'chosen') }} and completions.completion_id = chosen.completion_id
