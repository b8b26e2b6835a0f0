with prompts as (

    select {{ row_key() }} from {{ ref('stg_prompts') }}

),

responses as (

    select * from {{ ref('int_responses') }}

),

usable as (

    select {{ row_key() }} from responses where reason is null

),

contaminated as (

    select * from {{ ref('int_contaminated_rows') }}

),

without_response as (

    select
        prompts.*,
        'no_response' as reason,
        null as detail

    from prompts
    anti join responses using ({{ row_key() }})

),

without_usable_response as (

    select
        prompts.*,
        responses.reason,
        string_agg(distinct responses.detail, '; ' order by responses.detail) as detail

    from prompts
    anti join usable using ({{ row_key() }})
    inner join responses using ({{ row_key() }})
    group by all

),

unioned as (

    select {{ row_key() }}, reason, detail from contaminated
    union all
    select {{ row_key() }}, reason, detail from without_response
    union all
    select {{ row_key() }}, reason, detail from without_usable_response

)

select * from unioned
