-- Of every source of a mixture: its prompts are those that may be drawn and those removed, no row being both.
with mixtures as (

    select mixture, source from {{ ref('int_mixtures') }}

),

prompts as (

    select
        source,
        count(*) as prompts

    from {{ ref('stg_prompts') }}
    group by all

),

removed as (

    select
        mixtures.mixture,
        mixtures.source,
        count(distinct (removals.file, removals.row, removals.branch)) as removed

    from mixtures
    inner join {{ ref('int_removals') }} as removals
        on
            removals.source = mixtures.source
            and removals.mixture in ('*', mixtures.mixture)
    group by all

),

eligible as (

    select
        mixture,
        source,
        count(*) as eligible

    from {{ ref('int_mixture_candidates') }}
    where reason is null
    group by all

)

select
    mixtures.*,
    prompts.prompts,
    coalesce(removed.removed, 0) as removed_rows,
    coalesce(eligible.eligible, 0) as eligible_rows

from mixtures
inner join prompts using (source)
left join removed using (mixture, source)
left join eligible using (mixture, source)
where prompts.prompts != removed_rows + eligible_rows
