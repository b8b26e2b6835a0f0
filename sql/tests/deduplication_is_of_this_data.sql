{{ config(severity=var('stale'), store_failures=true, store_failures_as='table', schema='tests') }}

-- The duplicates were looked for in the prompts that this run reads, and in those of every source, unless it leaves none out.
-- The first input is what was looked at; others, what it was held against (--against). --sources is recorded where it was given.
-- depends_on: {{ source('raw', 'prompts') }}, {{ source('attr', 'duplicates') }}
with duplicates as (

    select
        reference,
        inputs,
        cast(arguments -> 'sources' as varchar[]) as chosen

    from meta.lineage
    where "table" = 'attr.duplicates'

),

passed_over as (

    select list(sources.source order by sources.source) as sources

    from {{ source('raw', 'sources') }} as sources
    cross join duplicates
    where
        sources.kind = 'training'
        and not list_contains(duplicates.chosen, sources.source)

)

select
    'spark-submit pipelines/deduplicate.py' as to_run,
    duplicates.reference as duplicates,
    duplicates.inputs as were_found_in,
    passed_over.sources as passed_over,
    prompts.reference as this_run_reads

from duplicates
cross join passed_over
cross join meta.lineage as prompts
where
    prompts."table" = 'raw.prompts'
    and '{{ chosen_duplicates() }}' != 'off'
    and (duplicates.inputs[1] is distinct from prompts.reference or passed_over.sources is not null)
