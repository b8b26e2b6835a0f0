-- No prompt of a commercial mixture has a licence that forbids commercial use.
select
    mixture.mixture,
    mixture.source,
    mixture.licence,
    count(*) as rows

from {{ ref('mart_rlvr_mixture') }} as mixture
inner join {{ ref('rlvr_mixtures') }} as mixtures using (mixture)
inner join (select distinct licence, commercial from {{ ref('int_rlvr_licences') }}) as licences using (licence)
where mixtures.use = 'commercial' and not licences.commercial
group by all
