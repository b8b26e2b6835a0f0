with candidates as (

    select * from {{ ref('int_mixture_candidates') }} where reason is null

),

mixtures as (

    select * from {{ ref('int_mixtures') }}

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

-- One seed draws the same order for every fraction, so a smaller stratum lies within each larger one.
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
        completion_id,
        source,
        revision,
        file,
        row,
        branch,
        sample,
        licence,
        commercial,
        skill,
        language,
        model

    from taken

)

select * from positioned
