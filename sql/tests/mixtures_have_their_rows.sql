{{ config(severity=var('shortfall'), store_failures=true, store_failures_as='table', schema='tests') }}

-- Each mixture has the rows that it asks of each source, and rows at all.
with mixtures as (

    select * from {{ ref('int_mixtures') }}

),

candidates as (

    select
        mixture,
        source,
        count(*) filter (where reason is null) as eligible_rows

    from {{ ref('int_mixture_candidates') }}
    group by all

),

taken as (

    select
        mixture,
        source,
        count(*) as rows

    from {{ ref('mart_sft_mixture') }}
    group by all

),

compared as (

    select
        mixtures.mixture,
        mixtures.source,
        {{ asked_rows('coalesce(candidates.eligible_rows, 0)') }} as asked,
        coalesce(taken.rows, 0) as found

    from mixtures
    left join candidates using (mixture, source)
    left join taken using (mixture, source)

),

empty as (

    select
        mixture,
        'all' as source,
        1 as asked,
        0 as found

    from compared
    group by mixture
    having sum(found) = 0

)

select * from compared where found != asked
union all
select mixture, source || ' (not ingested)', 1, 0 from mixtures
anti join {{ ref('stg_sources') }} as sources using (source)
union all
select * from empty
