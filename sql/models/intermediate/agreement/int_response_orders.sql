with scores as (

    select * from {{ ref('int_response_scores') }} where aspect = 'mean'

),

completions as (

    select * from {{ ref('stg_completions') }} where preference is not null

),

of_ratings as (

    select
        one.rater,
        one.prompt_id,
        one.text_hash as one,
        other.text_hash as other,
        sign(one.score - other.score) as better,
        one.characters - other.characters as longer

    from scores as one
    inner join scores as other
        on
            one.rater = other.rater
            and one.prompt_id = other.prompt_id
            and one.text_hash < other.text_hash

),

sides as (

    select
        {{ row_key() }},
        prompt_id,
        preference,
        hash(content) as text_hash,
        length(content) as characters

    from completions

),

labels as (

    select
        'ranking of ' || chosen.source as rater,
        chosen.prompt_id,
        least(chosen.text_hash, rejected.text_hash) as one,
        greatest(chosen.text_hash, rejected.text_hash) as other,
        if(chosen.text_hash < rejected.text_hash, 1, -1) as better,
        chosen.characters - rejected.characters as chosen_longer

    from sides as chosen
    inner join sides as rejected using ({{ row_key() }}, prompt_id)
    where chosen.preference = 'chosen' and rejected.preference = 'rejected' and chosen.text_hash != rejected.text_hash

),

-- Labels of the same two responses that contradict each other are a tie.
of_labels as (

    select
        rater,
        prompt_id,
        one,
        other,
        sign(sum(better)) as better,
        any_value(chosen_longer * better) as longer

    from labels
    group by all

)

select * from of_ratings
union all
select * from of_labels
