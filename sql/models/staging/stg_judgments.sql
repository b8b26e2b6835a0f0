with source as (

    select * from {{ source('pref', 'judgments') }}

),

renamed as (

    select
        campaign,
        completion_id,
        aspect,
        judge,
        template,
        position,
        listed,
        request_id,
        score,
        licence

    from source

)

select * from renamed
