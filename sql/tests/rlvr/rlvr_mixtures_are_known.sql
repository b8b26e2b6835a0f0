-- Each RLVR mixture that the run names is in the seed rlvr_mixtures.
select name as unknown_mixture
from (select unnest({{ string_list(chosen_mixtures('rlvr_mixtures')) }}) as name)
anti join {{ ref('rlvr_mixtures') }} as mixtures on mixtures.mixture = name
