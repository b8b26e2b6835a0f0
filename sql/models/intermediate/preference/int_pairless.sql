{% set group_key = 'source, judge, policy, seed, group_id' %}
with ranked as (

    select * from {{ ref('int_ranked_responses') }}

),

pairs as (

    select * from {{ ref('int_pairs') }}

),

groups as (

    select
        {{ group_key }},
        min_by(
            {
                prompt_id: prompt_id, prompt_source: prompt_source, prompt_file: prompt_file, row: row, branch: branch
            },
            (file, row, branch, sample)
        ) as prompt,
        count(*) as responses,
        count(*) filter (where reason is null) as usable,
        count(value) filter (where reason is null) as scored,
        max(value) filter (where reason is null) as best,
        min(value) filter (where reason is null) as worst,
        count(distinct text_hash) filter (where reason is null and value is not null) as texts,
        min({reason: reason, detail: detail}) filter (where reason is not null) as why

    from ranked
    anti join pairs using ({{ group_key }})
    group by all

),

judged as (

    select
        {{ group_key }},
        prompt.*,
        case
            when usable < 2 then coalesce(why.reason, 'one_response')
            when scored < 2 then 'not_scored'
            when texts = 1 then 'identical'
            when best = worst then 'tie'
            when policy = 'on' then 'off_policy'
            else 'identical'
        end as reason,
        case reason
            when 'not_scored' then format('{} of {} usable responses', scored, usable)
            when 'tie' then format('{} responses at {}', scored, best)
            when why.reason then why.detail
        end as detail

    from groups

)

select * from judged
