with source as (

    select * from {{ source('mixtures', 'sft') }}

),

renamed as (

    select distinct prompt_id

    from source
    where mixture = '{{ var("sft_mixture") | replace("'", "''") }}'

)

select * from renamed
