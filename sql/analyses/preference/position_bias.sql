-- The order of a judge's list is by lot, so a fair judge gives every place the same mean and each place is best equally often.
with judgments as (

    select
        *,
        score = max(score) over list as is_best,
        count(*) over list as rated

    from {{ ref('stg_judgments') }}
    where score is not null
    window list as (partition by campaign, judge, template, aspect, request_id)

)

select
    judge,
    aspect,
    listed,
    position,
    count(*) as ratings,
    round(avg(score), 3) as mean_score,
    round(avg(score) - avg(avg(score)) over (partition by judge, aspect, listed), 3) as from_mean_of_places,
    round(1.96 * stddev_samp(score) / sqrt(count(*)), 3) as plus_minus,
    round(100 * avg(is_best::integer), 1) as percent_best

from judgments
group by all
order by judge, aspect, listed, position
