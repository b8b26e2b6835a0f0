-- A word is a run of characters between white space: a first measure that needs no tokeniser.
with turns as (

    select
        mixture,
        source,
        position,
        turn.role = 'assistant' as of_assistant,
        len(regexp_extract_all(turn.content, '\S+')) as words

    from (select mixture, source, position, unnest(messages) as turn from {{ ref('sft') }})

),

conversations as (

    select
        mixture,
        source,
        position,
        count(*) as turns,
        coalesce(sum(words) filter (where of_assistant), 0) as trained_words,
        coalesce(sum(words) filter (where not of_assistant), 0) as prompt_words

    from turns
    group by all

)

select
    mixture,
    source,
    count(*) as rows,
    round(avg(turns), 2) as turns,
    round(avg(prompt_words), 1) as prompt_words,
    round(avg(trained_words), 1) as trained_words,
    quantile_cont(trained_words, 0.5) as trained_words_median,
    quantile_cont(trained_words, 0.95) as trained_words_p95,
    sum(trained_words) as trained_words_in_all

from conversations
group by all
order by mixture, trained_words_in_all desc, source
