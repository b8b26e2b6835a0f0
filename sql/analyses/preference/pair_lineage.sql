-- All that made one pair: --vars '{mixture: tulu3_8b_preference, position: 0}'
with chosen as (

    select * from {{ ref('mart_preference_mixture') }}
    where mixture = '{{ var("mixture", chosen_mixtures('preference_mixtures')[0]) }}' and position = {{ var('position', 0) }}

),

sides as (

    select 'chosen' as side, chosen_completion_id as completion_id, judge, completion_source as source from chosen
    union all
    select 'rejected', rejected_completion_id, judge, completion_source from chosen

),

judgments as (

    select
        completion_id,
        judge,
        list(
            {aspect: aspect, score: score, template: template, position: position, campaign: campaign, request_id: request_id}
            order by aspect, campaign
        ) as judgments

    from {{ ref('stg_judgments') }}
    group by all

)

select
    chosen.* exclude (judge, completion_source),
    sides.side,
    completions.*,
    judgments.judgments,
    sources.location,
    sources.revision as revision_of_responses,
    sources.models as models_of_source

from chosen
cross join sides
inner join {{ source('raw', 'completions') }} as completions using (completion_id, source)
inner join {{ ref('stg_sources') }} as sources using (source)
left join judgments using (completion_id, judge)
order by sides.side
