{{ config(severity=var('shortfall'), store_failures=true, store_failures_as='table', schema='tests') }}

-- Each mixture has the rows that it asks of each source, and rows at all.
{{ shortfall(ref('int_mixtures'), ref('int_mixture_candidates'), ref('mart_sft_mixture'), 'source') }}
