with source as (

    select * from {{ source('raw', 'prompts') }}

),

ingested as (

    select source, revision from {{ ref('stg_sources') }} where kind = 'training'

),

renamed as (

    select
        prompt_id,
        source,
        revision,
        file,
        row,
        branch,
        messages,
        licence,
        skill,
        language,
        verifier,
        ground_truth

    from source
    semi join ingested using (source, revision)

)

select * from renamed
