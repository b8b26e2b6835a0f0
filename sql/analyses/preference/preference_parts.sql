select
    mixture,
    part,
    judge,
    licence,
    count(*) as pairs,
    count(distinct prompt_id) as prompts,
    round(avg(chosen_score), 2) as mean_chosen_score,
    round(avg(rejected_score), 2) as mean_rejected_score,
    list_sort(list(distinct chosen_model)) as chosen_models,
    list_sort(list(distinct rejected_model)) as rejected_models

from {{ ref('mart_preference_mixture') }}
group by all
order by mixture, part, pairs desc, licence
