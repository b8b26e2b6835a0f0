-- Each rule matches its example, and no rule matches any counter-example.
{% for rule in self_statement_rules() %}
select '{{ rule.rule }}' as rule, '{{ rule.example | replace("'", "''") }}' as text
where not ({{ names_an_ai('text') }} and {{ states(rule, 'text') }})
union all
select {{ first_self_statement('text') }} as rule, '{{ rule.counter_example | replace("'", "''") }}' as text
where rule is not null
{{ 'union all' if not loop.last }}
{% endfor %}
