select
    mixture.mixture,
    mixture.licence,
    licences.commercial,
    licences.attribution,
    licences.share_alike,
    licences.model_output_terms,
    count(*) as rows,
    list_sort(list(distinct mixture.source)) as sources

from {{ ref('mart_sft_mixture') }} as mixture
inner join (
    select distinct licence, commercial, attribution, share_alike, model_output_terms from {{ ref('int_licences') }}
) as licences using (licence)
group by all
order by mixture.mixture, rows desc, mixture.licence
