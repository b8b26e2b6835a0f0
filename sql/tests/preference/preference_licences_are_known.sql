-- Each licence of a pair is in warehouse/licences/licences.csv.
select
    prompt_licence,
    chosen_licence,
    rejected_licence,
    unnest(unknown_licences) as unknown_licence

from {{ ref('int_pair_licences') }}
