with source as (

    select * from {{ source('raw', 'completions') }}

),

ingested as (

    select source, revision from {{ ref('stg_sources') }} where kind = 'training'

),

renamed as (

    select
        completion_id,
        prompt_id,
        source,
        file,
        row,
        branch,
        sample,
        content,
        preference,
        score,
        model,
        licence,
        finish_reason,
        policy

    from source
    semi join ingested using (source, revision)

)

select * from renamed
