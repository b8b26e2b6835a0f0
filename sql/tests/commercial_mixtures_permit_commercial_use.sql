-- No row of a commercial mixture has a licence, of prompt or response, that forbids commercial use.
select
    mixture.mixture,
    mixture.source,
    mixture.licence,
    count(*) as rows

from {{ ref('mart_sft_mixture') }} as mixture
inner join {{ ref('mixtures') }} as mixtures using (mixture)
inner join {{ ref('int_candidates') }} as candidates using ({{ row_key() }})
inner join {{ ref('int_licences') }} as licences using (prompt_licence, completion_licence)
where mixtures.use = 'commercial' and not licences.commercial
group by all
