with prompts as (

    select * from {{ ref('stg_prompts') }}

),

sources as (

    select distinct source from {{ ref('int_rlvr_parts') }}

),

contaminated as (

    select
        {{ row_key() }},
        -- A set that is left out needs no reasons for its rows.
        min_by({reason: reason, detail: detail}, reason = 'contaminated_row') as why

    from {{ ref('int_contaminated_rows') }}
    group by all

),

judged as (

    select
        prompts.source,
        prompts.revision,
        prompts.file,
        prompts.row,
        prompts.branch,
        prompts.prompt_id,
        prompts.skill,
        prompts.language,
        prompts.licence as prompt_licence,
        prompts.verifier,
        prompts.ground_truth,
        case
            when contaminated.why is not null then contaminated.why
            when prompts.verifier is null then {reason: 'no_verifier', detail: null::varchar}
            when prompts.ground_truth is null then {reason: 'no_ground_truth', detail: prompts.verifier}
        end as why

    from prompts
    semi join sources using (source)
    left join contaminated using ({{ row_key() }})

)

select
    * exclude (why),
    why.reason as reason,
    why.detail as detail

from judged
