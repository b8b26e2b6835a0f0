with source as (

    select * from {{ source('attr', 'duplicates') }}

),

ingested as (

    select source, revision from {{ ref('stg_sources') }} where kind = 'training'

),

renamed as (

    select
        source,
        file,
        row,
        branch,
        kind,
        cluster_id,
        keeper,
        contains(method, 'against others') as against_others

    from source
    semi join ingested using (source, revision)

)

select * from renamed
