-- Where a part is of prompts that SFT used, or did not use, it must be known which ones those are.
select distinct
    mixture,
    part,
    '{{ var("sft_mixture") }}' as not_in_mixtures_sft

from {{ ref('int_preference_parts') }}
where prompts != 'any' and not exists (select 1 from {{ ref('stg_used_prompts') }})
