{{ combined_licences(ref('int_pairs'), ['prompt_licence', 'chosen_licence', 'rejected_licence']) }}
