with source as (

    select * from {{ source('raw', 'eval_instances') }}

),

ingested as (

    select source as eval_set, revision from {{ ref('stg_sources') }} where kind = 'evaluation'

),

renamed as (

    select instance_id, eval_set, suite

    from source
    semi join ingested using (eval_set, revision)

)

select * from renamed
