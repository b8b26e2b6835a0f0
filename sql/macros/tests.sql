{# No two rows have the same values of `columns`. #}
{% test unique_together(model, columns) %}
    select {{ columns | join(', ') }}, count(*) as times
    from {{ model }}
    group by all
    having count(*) > 1
{% endtest %}
