{{ config(store_failures=true, store_failures_as='table', schema='tests') }}

-- The job writes no evidence of pairs at or below its threshold, so overlap_threshold may be higher, never lower.
-- depends_on: {{ source('attr', 'contamination') }}
with evidence as (

    select
        reference,
        arguments ->> 'threshold' as threshold

    from meta.lineage
    where "table" = 'attr.contamination'

),

fractions as (

    select
        *,
        cast(split_part(threshold, '/', 1) as decimal(18, 6)) as numerator,
        coalesce(try_cast(split_part(threshold, '/', 2) as bigint), 1) as denominator

    from evidence

)

select
    'spark-submit pipelines/decontaminate.py --threshold {{ var("overlap_threshold") }}' as to_run,
    reference as evidence,
    threshold as threshold_of_evidence,
    {{ threshold('overlap_threshold') }} as overlap_threshold

from fractions
where {{ threshold('overlap_threshold') }} * denominator < numerator
