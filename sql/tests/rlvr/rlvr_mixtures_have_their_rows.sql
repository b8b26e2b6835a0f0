{{ config(severity=var('shortfall'), store_failures=true, store_failures_as='table', schema='tests') }}

-- Each mixture has the prompts that it asks of each source, and prompts at all.
{{ shortfall(ref('int_rlvr_parts'), ref('int_rlvr_candidates'), ref('mart_rlvr_mixture'), 'source') }}
