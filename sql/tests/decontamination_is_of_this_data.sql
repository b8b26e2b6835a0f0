{{ config(severity=var('stale'), store_failures=true, store_failures_as='table', schema='tests') }}

-- The evidence of contamination was found in exactly the prompts and evaluations that this run reads. meta.lineage is made
-- by the plugin, beside the sources. depends_on: {{ source('raw', 'prompts') }}, {{ source('attr', 'contamination') }}
select
    'spark-submit pipelines/decontaminate.py' as to_run,
    evidence.reference as evidence,
    evidence.inputs as was_found_in,
    this_run.reads as this_run_reads

from meta.lineage as evidence
cross join (
    select list(reference order by reference) as reads
    from meta.lineage
    where "table" in ('raw.eval_instances', 'raw.prompts')
) as this_run
where
    evidence."table" = 'attr.contamination'
    and list_sort(evidence.inputs) != this_run.reads
    -- Without evaluations there is nothing to look for.
    and exists (select 1 from {{ source('raw', 'eval_instances') }})
