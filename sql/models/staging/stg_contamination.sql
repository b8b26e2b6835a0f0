with source as (

    select * from {{ source('attr', 'contamination') }}

),

renamed as (

    select
        train_set as source,
        train_file as file,
        train_row as row,
        train_branch as branch,
        prompt_id,
        eval_set,
        instance_id,
        matched_tokens,
        total_tokens,
        kind,
        {{ overlaps('matched_tokens', 'total_tokens') }} as is_overlap

    from source

)

select * from renamed
