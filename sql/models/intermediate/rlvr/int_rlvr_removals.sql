{{ config(materialized='view') }}

select
    mixture,
    {{ row_key() }},
    prompt_id,
    reason,
    detail

from {{ ref('int_rlvr_candidates') }}
where reason is not null
