with judgments as (

    select * from {{ ref('stg_judgments') }}

),

-- What a judge was asked about in a campaign: a judgement that it did not give is a row too.
asked as (

    select
        campaign,
        judge,
        count(distinct aspect) as aspects

    from judgments
    group by all

),

-- Of an aspect that was judged by several templates, the mean.
aspects as (

    select
        campaign,
        judge,
        completion_id,
        aspect,
        avg(score) as score,
        list(distinct licence) filter (where licence is not null) as licences

    from judgments
    group by all

),

-- The mean over aspects is of all of them or is none: those that are there say nothing of one that is missing.
campaigns as (

    select
        aspects.campaign,
        aspects.judge,
        aspects.completion_id,
        avg(aspects.score) as score,
        flatten(list(aspects.licences)) as licences

    from aspects
    inner join asked using (campaign, judge)
    group by aspects.campaign, aspects.judge, aspects.completion_id
    having count(aspects.score) = any_value(asked.aspects)

),

-- Rounded: the last digits of a sum depend on its order, and equal ratings shall be a tie.
rated as (

    select
        judge,
        completion_id,
        round(avg(score), 9) as score,
        count(*) as campaigns,
        nullif(array_to_string(list_sort(list_distinct(flatten(list(licences)))), ' AND '), '') as licence

    from campaigns
    group by all

)

select * from rated
