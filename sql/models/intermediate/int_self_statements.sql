with prompts as (

    select * from {{ ref('stg_prompts') }} where skill is distinct from 'identity'

),

completions as (

    select * from {{ ref('stg_completions') }}

),

names as (

    select * from {{ ref('ai_names') }}

),

patterns as (

    select * from {{ ref('self_statements') }}

),

-- The response, and the assistant's earlier turns where there are any.
texts as (

    select
        source,
        file,
        row,
        branch,
        sample,
        lower(content) as text

    from completions

    union all

    select
        source,
        file,
        row,
        branch,
        null as sample,
        lower(array_to_string([turn.content for turn in messages if turn.role = 'assistant'], chr(10))) as text

    from prompts
    where len(messages) > 2

),

-- Looking for a name costs little, so only the few texts that hold one meet the patterns.
naming as (

    select
        texts.*,
        names.name,
        names.kind

    from texts
    inner join names on contains(texts.text, names.name)

),

stating as (

    select
        naming.source,
        naming.file,
        naming.row,
        naming.branch,
        naming.sample,
        min(patterns.rule || ': ' || naming.name) as detail

    from naming
    inner join patterns on contains(patterns.kinds, naming.kind)
    where regexp_matches(naming.text, {{ self_statement('patterns.pattern', 'naming.name') }})
    group by all

),

not_on_purpose as (

    select stating.*

    from stating
    semi join prompts using ({{ row_key() }})

)

select * from not_on_purpose
