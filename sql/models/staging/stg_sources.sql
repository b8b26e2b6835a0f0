with source as (

    select * from {{ source('raw', 'sources') }}

),

renamed as (

    select
        source,
        kind,
        revision,
        location,
        licence,
        skill,
        suite,
        parents,
        models,
        rows as records

    from source

)

select * from renamed
