{% set group_key = 'source, judge, policy, seed, group_id' %}
{% set response = 'prompt_id, completion_id, file, row, branch, sample' %}
with ranked as (

    select * from {{ ref('int_ranked_responses') }} where reason is null and value is not null

),

-- The best one; of several equally good ones, one by lot.
best as (

    select *

    from ranked
    qualify row_number() over (partition by {{ group_key }} order by value desc, {{ lottery('seed', 'chosen', response) }}) = 1

),

-- Every worse one may be rejected: the first by lot is, where a mixture takes one pair of a prompt.
pairs as (

    select
        best.source,
        best.judge,
        best.policy,
        best.seed,
        best.group_id,
        row_number() over (
            partition by ranked.source, ranked.judge, ranked.policy, ranked.seed, ranked.group_id
            order by {{ lottery('ranked.seed', 'rejected', 'ranked.' ~ response.split(', ') | join(', ranked.')) }}
        ) as number,
        best.prompt_id,
        best.prompt_source,
        best.prompt_revision,
        best.prompt_file,
        best.row,
        best.branch,
        best.prompt_licence,
        best.skill,
        best.language,
        best.completion_id as chosen_completion_id,
        best.model as chosen_model,
        best.licence as chosen_licence,
        best.shown_score as chosen_score,
        ranked.completion_id as rejected_completion_id,
        ranked.model as rejected_model,
        ranked.licence as rejected_licence,
        ranked.shown_score as rejected_score

    from best
    inner join ranked using ({{ group_key }})
    where
        ranked.value < best.value
        and ranked.text_hash != best.text_hash
        and (best.policy != 'on' or best.response_policy = 'on' or ranked.response_policy = 'on')

)

select * from pairs
