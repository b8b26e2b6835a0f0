-- Of every source of a mixture: its prompts are those that may be drawn and those removed, each once.
with parts as (

    select mixture, source from {{ ref('int_rlvr_parts') }}

),

prompts as (

    select
        source,
        count(*) as prompts

    from {{ ref('stg_prompts') }}
    group by all

),

candidates as (

    select
        mixture,
        source,
        count(*) as decided

    from {{ ref('int_rlvr_candidates') }}
    group by all

),

removed as (

    select
        mixture,
        source,
        count(*) as removed

    from {{ ref('int_rlvr_removals') }}
    group by all

)

select * from parts
inner join prompts using (source)
left join candidates using (mixture, source)
left join removed using (mixture, source)
where prompts is distinct from decided or removed > decided
