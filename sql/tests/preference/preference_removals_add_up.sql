-- Of every part of a mixture: the groups of responses that were compared, each of one prompt or record, gave a pair that may
-- be drawn or have a removal; and no pair is both.
with parts as (

    select * from {{ ref('int_preference_parts') }}

),

compared as (

    select
        parts.mixture,
        parts.part,
        count(distinct ranked.group_id) as groups

    from parts
    inner join {{ ref('int_ranked_responses') }} as ranked using (source, judge, policy, seed)
    group by all

),

outcomes as (

    select
        mixture,
        part,
        group_id,
        false as removed,
        chosen_completion_id || rejected_completion_id as pair

    from {{ ref('int_preference_candidates') }}
    where reason is null
    union all
    select
        mixture,
        part,
        group_id,
        true as removed,
        coalesce(chosen_completion_id || rejected_completion_id, group_id) as pair

    from {{ ref('int_preference_removals') }}

),

counted as (

    select
        mixture,
        part,
        count(distinct group_id) as decided,
        count(*) as pairs,
        count(distinct (group_id, pair)) as distinct_pairs

    from outcomes
    group by all

)

select * from compared
left join counted using (mixture, part)
where groups is distinct from decided or pairs != distinct_pairs
