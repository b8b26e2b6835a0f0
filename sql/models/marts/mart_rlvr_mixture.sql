with candidates as (

    select * from {{ ref('int_rlvr_candidates') }} where reason is null

),

mixtures as (

    select * from {{ ref('int_rlvr_parts') }}

),

drawn as (

    select
        *,
        row_number() over (
            partition by mixture, source
            order by {{ lottery('seed', 'draw') }}, file, row, branch
        ) as place,
        count(*) over (partition by mixture, source) as eligible_rows

    from candidates

),

taken as (

    select drawn.*

    from drawn
    inner join mixtures using (mixture, source)
    where place <= {{ asked_rows('eligible_rows') }}

),

positioned as (

    select
        mixture,
        row_number() over (
            partition by mixture
            order by {{ lottery('seed', 'position') }}, source, file, row, branch
        ) - 1 as position,
        prompt_id,
        source,
        revision,
        file,
        row,
        branch,
        verifier,
        licence,
        commercial,
        skill,
        language

    from taken

)

select * from positioned
