with completions as (

    select * from {{ ref('stg_completions') }}

),

judgments as (

    select * from {{ ref('stg_judgments') }}

),

ratings as (

    select * from {{ ref('int_ratings') }}

),

scores as (

    select
        judge as rater,
        aspect,
        completion_id,
        avg(score) as score

    from judgments
    where score is not null
    group by all

    union all

    select
        judge as rater,
        'mean' as aspect,
        completion_id,
        score

    from ratings

    union all

    select
        'scores of ' || source as rater,
        'mean' as aspect,
        completion_id,
        any_value(score) as score

    from completions
    where score is not null
    group by all

),

-- A response is its prompt and its text: what one source ranks and another rates may stand in both.
texts as (

    select
        completion_id,
        any_value(prompt_id) as prompt_id,
        hash(any_value(content)) as text_hash,
        length(any_value(content)) as characters

    from completions
    semi join scores using (completion_id)
    group by all

),

scored as (

    select
        scores.rater,
        scores.aspect,
        texts.prompt_id,
        texts.text_hash,
        any_value(texts.characters) as characters,
        avg(scores.score) as score

    from scores
    inner join texts using (completion_id)
    group by all

)

select * from scored
