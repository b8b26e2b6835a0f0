{% set pair_key = ['part', 'judge', 'policy', 'completion_source', 'group_id', 'number'] %}
with parts as (

    select * from {{ ref('int_preference_parts') }}

),

pairs as (

    select * from {{ ref('int_pairs') }}

),

licences as (

    select * from {{ ref('int_pair_licences') }}

),

verdicts as (

    select * from {{ ref('stg_verdicts') }}

),

used_prompts as (

    select * from {{ ref('stg_used_prompts') }}

),

listed as (

    select * from {{ ref('stg_duplicates') }}

),

-- Two parts may hold responses to one row, which is a repetition too, also where no other row has its prompt.
duplicates as (

    select * from listed

    union all by name

    select distinct
        pairs.prompt_source as source,
        pairs.prompt_file as file,
        pairs.row,
        pairs.branch,
        'exact' as kind,
        pairs.prompt_id as cluster_id,
        true as keeper,
        false as against_others

    from pairs
    left join listed
        on
            listed.source = pairs.prompt_source
            and listed.file = pairs.prompt_file
            and listed.row = pairs.row
            and listed.branch = pairs.branch
            and listed.kind = 'exact'
    where listed.source is null

),

asked as (

    select
        parts.mixture,
        parts.part,
        parts.pairs as allowed_pairs,
        parts.rows as asked_pairs,
        pairs.judge,
        pairs.policy,
        pairs.seed,
        pairs.source as completion_source,
        pairs.prompt_source as source,
        pairs.prompt_revision as revision,
        pairs.prompt_file as file,
        pairs.* exclude (judge, policy, seed, source, prompt_source, prompt_revision, prompt_file),
        licences.licence,
        licences.commercial,
        case
            when len(licences.unknown_licences) > 0 or (parts.use = 'commercial' and not licences.commercial) then 'licence'
            when parts.prompts = 'reused' and used_prompts.prompt_id is null then 'prompt_not_used'
            when parts.prompts = 'unused' and used_prompts.prompt_id is not null then 'prompt_used'
            when parts.verified and not coalesce(verdicts.correct, false) then 'not_verified'
        end as why,
        case why
            when 'licence' then licences.licence
            when 'not_verified' then coalesce(array_to_string(verdicts.verifiers, ', '), 'no verdict')
            when 'prompt_used' then '{{ var("sft_mixture") }}'
            when 'prompt_not_used' then '{{ var("sft_mixture") }}'
        end as what

    from parts
    inner join pairs using (source, judge, policy, seed)
    inner join licences using (prompt_licence, chosen_licence, rejected_licence)
    left join used_prompts using (prompt_id)
    left join verdicts on verdicts.completion_id = pairs.chosen_completion_id
    where pairs.number <= parts.pairs

),

licensed as (

    select
        * exclude (prompt_licence, chosen_licence, rejected_licence),
        why is not null as forbidden

    from asked

),

-- The part that asks for fewer pairs keeps a prompt that others have too, so that it does not fall short of it.
{{ repeats(
    pair_key,
    'licensed.asked_pairs nulls last, licensed.part, licensed.number, duplicates.keeper desc, licensed.source, licensed.file, '
    ~ 'licensed.row, licensed.branch, licensed.completion_source, licensed.group_id',
    'licensed.allowed_pairs'
) }},

judged as (

    select
        licensed.* exclude (forbidden, why, what, allowed_pairs, asked_pairs),
        coalesce(licensed.why, repeats.reason) as reason,
        if(licensed.why is null, repeats.cluster_id, licensed.what) as detail

    from licensed
    left join repeats using (mixture, {{ pair_key | join(', ') }})

)

select * from judged
