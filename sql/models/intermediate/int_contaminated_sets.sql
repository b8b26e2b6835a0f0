with pairs as (

    select * from {{ ref('stg_contamination') }} where is_overlap

),

prompts as (

    select * from {{ ref('stg_prompts') }}

),

instances as (

    select * from {{ ref('stg_eval_instances') }}

),

sizes as (

    select
        eval_set,
        suite,
        count(*) as instances

    from instances
    group by all

),

-- Evidence about a prompt or an instance that has since been replaced says nothing about those there are now.
current_pairs as (

    select pairs.*

    from pairs
    semi join prompts using ({{ row_key() }}, prompt_id)
    semi join instances using (eval_set, instance_id)

),

overlapped as (

    select
        source,
        eval_set,
        count(distinct instance_id) filter (where kind = 'ngram') as overlapped_ngram,
        count(distinct instance_id) filter (where kind = 'exact') as overlapped_exact

    from current_pairs
    group by all

),

judged as (

    select
        overlapped.source,
        overlapped.eval_set,
        sizes.suite,
        sizes.instances,
        overlapped.overlapped_ngram,
        overlapped.overlapped_exact,
        {{ contaminated('overlapped.overlapped_ngram', 'sizes.instances') }}
        or {{ contaminated('overlapped.overlapped_exact', 'sizes.instances') }} as contaminated

    from overlapped
    inner join sizes using (eval_set)

),

policy as (

    select * from {{ ref('contamination_policy') }}

),

-- The most special policy counts: one for the pair, then for the evaluation, the training set, the suite.
decided as (

    select
        judged.*,
        policy.action

    from judged
    left join policy
        on
            policy.eval_set in ('*', judged.eval_set)
            and policy.train_set in ('*', judged.source)
            and policy.suite in ('*', judged.suite)
    qualify row_number() over (
        partition by judged.source, judged.eval_set
        order by policy.eval_set = '*', policy.train_set = '*', policy.suite = '*'
    ) = 1

)

select * from decided
