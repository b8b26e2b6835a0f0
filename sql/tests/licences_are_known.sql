-- Each licence of a row that a mixture may have is in warehouse/licences/licences.csv.
select
    prompt_licence,
    completion_licence,
    unnest(unknown_licences) as unknown_licence

from {{ ref('int_licences') }}
