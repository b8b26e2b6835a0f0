{{ config(severity=var('stale'), store_failures=true, store_failures_as='table', schema='tests') }}

-- The duplicates were looked for in the prompts that this run reads, unless it leaves none out. Others may have been looked
-- at too (--against). depends_on: {{ source('raw', 'prompts') }}, {{ source('attr', 'duplicates') }}
select
    'spark-submit pipelines/deduplicate.py' as to_run,
    duplicates.reference as duplicates,
    duplicates.inputs as were_found_in,
    prompts.reference as this_run_reads

from meta.lineage as duplicates
cross join meta.lineage as prompts
where
    duplicates."table" = 'attr.duplicates'
    and prompts."table" = 'raw.prompts'
    and '{{ chosen_duplicates() }}' != 'off'
    and not list_contains(duplicates.inputs, prompts.reference)
