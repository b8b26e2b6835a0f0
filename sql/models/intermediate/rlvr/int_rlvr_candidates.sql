{#- Prompts after the same worked examples are nearly equal, all of them: only equal ones are left out. -#}
{% set kinds = [] if chosen_duplicates() == 'off' else ['exact'] %}
with parts as (

    select * from {{ ref('int_rlvr_parts') }}

),

prompts as (

    select * from {{ ref('int_rlvr_prompts') }}

),

licences as (

    select * from {{ ref('int_rlvr_licences') }}

),

duplicates as (

    select * from {{ ref('stg_duplicates') }}

),

asked as (

    select
        parts.mixture,
        parts.seed,
        prompts.* exclude (prompt_licence, reason, detail),
        licences.licence,
        licences.commercial,
        case
            when prompts.reason is not null then {reason: prompts.reason, detail: prompts.detail}
            when len(licences.unknown_licences) > 0 or (parts.use = 'commercial' and not licences.commercial)
                then {reason: 'licence', detail: licences.licence}
        end as why

    from parts
    inner join prompts using (source)
    inner join licences using (prompt_licence)

),

licensed as (

    select
        * exclude (why),
        why is not null as forbidden,
        why.reason as why,
        why.detail as what

    from asked

),

{{ repeats(
    ['source', 'file', 'row', 'branch'],
    'duplicates.keeper desc, licensed.source, licensed.file, licensed.row, licensed.branch',
    kinds=kinds
) }},

judged as (

    select
        licensed.* exclude (forbidden, why, what),
        coalesce(licensed.why, repeats.reason) as reason,
        if(licensed.why is null, repeats.cluster_id, licensed.what) as detail

    from licensed
    left join repeats using (mixture, {{ row_key() }})

)

select * from judged
