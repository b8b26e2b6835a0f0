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

{% set kinds = {'off': [], 'exact': ['exact'], 'near': ['exact', 'near']}[chosen_duplicates()] %}
{% for kind in kinds %}
{{ kind }}_repeats as (

    select
        licensed.mixture,
        licensed.source,
        licensed.file,
        licensed.row,
        licensed.branch,
        duplicates.cluster_id

    from licensed
    inner join duplicates using ({{ row_key() }})
    {% for earlier in kinds[:loop.index0] %}
    anti join {{ earlier }}_repeats using (mixture, {{ row_key() }})
    {% endfor %}
    where
        duplicates.kind = '{{ kind }}'
        and not licensed.forbidden
        and licensed.skill is distinct from 'identity'
    -- The keeper of the cluster, or where it is not in this mixture the first that is. A row that repeats one of the sets
    -- it was compared with is left out wherever that one is.
    qualify row_number() over (
        partition by licensed.mixture, duplicates.cluster_id
        order by duplicates.keeper desc, licensed.source, licensed.file, licensed.row, licensed.branch
    ) > 1 or (duplicates.against_others and not duplicates.keeper)

),
{% endfor %}

repeats as (

    {% for kind in kinds %}
    select *, '{{ kind }}_duplicate' as reason from {{ kind }}_repeats
    {{ 'union all' if not loop.last }}
    {% else %}
    select mixture, {{ row_key() }}, null::varchar as cluster_id, null::varchar as reason from licensed where false
    {% endfor %}

),

judged as (

    select
        licensed.* exclude (forbidden),
        case when licensed.forbidden then 'licence' else repeats.reason end as reason,
        case when licensed.forbidden then licensed.licence else repeats.cluster_id end as detail

    from licensed
    left join repeats using (mixture, {{ row_key() }})

)

select * from judged
