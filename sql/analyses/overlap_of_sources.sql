with ids as (

    select distinct
        source,
        prompt_id

    from {{ ref('stg_prompts') }}

),

sizes as (

    select
        source,
        count(*) as prompts

    from ids
    group by all

),

shared as (

    select
        one.source as source,
        other.source as other_source,
        count(*) as shared_prompts

    from ids as one
    inner join ids as other on one.prompt_id = other.prompt_id and one.source < other.source
    group by all

)

select
    shared.*,
    round(100.0 * shared_prompts / one.prompts, 2) as percent_of_source,
    round(100.0 * shared_prompts / other.prompts, 2) as percent_of_other

from shared
inner join sizes as one on one.source = shared.source
inner join sizes as other on other.source = shared.other_source
order by shared_prompts desc, shared.source, other_source
