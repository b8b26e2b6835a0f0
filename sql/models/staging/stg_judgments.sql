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
        score,
        licence

    from source

)

select * from renamed
