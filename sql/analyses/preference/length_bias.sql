-- How often a rater holds the longer of two responses for the better one, and where it was chosen into a mixture.
-- Needs: dbt build --select +mart_judge_agreement
select
    rater,
    count(*) as pairs,
    round(100 * avg((better = sign(longer))::integer), 1) as percent_longer_is_better,
    round(avg(better * longer), 1) as characters_that_the_better_is_longer_by,
    round(corr(better, longer), 3) as correlation

from {{ ref('int_response_orders') }}
where better != 0 and longer != 0
group by all
order by rater
