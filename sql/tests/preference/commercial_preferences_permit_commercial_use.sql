-- No pair of a commercial mixture has a licence, of prompt or responses, that forbids commercial use.
select
    mixture.mixture,
    mixture.part,
    mixture.licence,
    count(*) as rows

from {{ ref('mart_preference_mixture') }} as mixture
inner join {{ ref('preference_mixtures') }} as mixtures using (mixture)
inner join (select distinct licence, commercial from {{ ref('int_pair_licences') }}) as licences using (licence)
where mixtures.use = 'commercial' and not licences.commercial
group by all
