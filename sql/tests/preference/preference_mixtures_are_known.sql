-- Each preference mixture that the run names is in the seed preference_mixtures.
select name as unknown_mixture
from (select unnest({{ string_list(chosen_mixtures('preference_mixtures')) }}) as name)
anti join {{ ref('preference_mixtures') }} as mixtures on mixtures.mixture = name
