{{ config(severity=var('shortfall'), store_failures=true, store_failures_as='table', schema='tests') }}

-- Each mixture has the pairs that it asks of each part, and pairs at all. depends_on: {{ ref('stg_sources') }}
{{ shortfall(ref('int_preference_parts'), ref('int_preference_candidates'), ref('mart_preference_mixture'), 'part') }}
