-- Each licence of a prompt is in warehouse/licences/licences.csv.
select
    prompt_licence,
    unnest(unknown_licences) as unknown_licence

from {{ ref('int_rlvr_licences') }}
