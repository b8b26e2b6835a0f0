with source as (

    select * from {{ source('attr', 'verdicts') }}

),

renamed as (

    select
        completion_id,
        bool_and(coalesce(correct, false)) as correct,
        list_sort(list(distinct verifier)) as verifiers

    from source
    group by all

)

select * from renamed
