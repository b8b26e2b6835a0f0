-- Each mixture that the run names is in the seed mixtures.
select name as unknown_mixture
from (select unnest({{ string_list(chosen_mixtures()) }}) as name)
anti join {{ ref('mixtures') }} as mixtures on mixtures.mixture = name
