with mixtures as (

    select * from {{ ref('int_mixtures') }}

),

candidates as (

    select * from {{ ref('int_candidates') }}

),

licences as (

    select * from {{ ref('int_licences') }}

),

duplicates as (

    select * from {{ ref('stg_duplicates') }}

),

licensed as (

    select
        mixtures.mixture,
        mixtures.seed,
        candidates.* exclude (prompt_licence, completion_licence),
        licences.licence,
        licences.commercial,
        len(licences.unknown_licences) > 0 or (mixtures.use = 'commercial' and not licences.commercial) as forbidden

    from mixtures
    inner join candidates using (source)
    inner join licences using (prompt_licence, completion_licence)

),

{{ repeats(
    ['source', 'file', 'row', 'branch'],
    'duplicates.keeper desc, licensed.source, licensed.file, licensed.row, licensed.branch'
) }},

judged as (

    select
        licensed.* exclude (forbidden),
        case when licensed.forbidden then 'licence' else repeats.reason end as reason,
        case when licensed.forbidden then licensed.licence else repeats.cluster_id end as detail

    from licensed
    left join repeats using (mixture, {{ row_key() }})

)

select * from judged
