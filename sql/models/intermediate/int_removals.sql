{{ config(materialized='view') }}

with row_removals as (

    select * from {{ ref('int_row_removals') }}

),

mixture_candidates as (

    select * from {{ ref('int_mixture_candidates') }} where reason is not null

),

unioned as (

    select '*' as mixture, {{ row_key() }}, reason, detail from row_removals
    union all
    select mixture, {{ row_key() }}, reason, detail from mixture_candidates

)

select * from unioned
