"""Exact n-gram overlap between training prompts and evaluation instances (Tülu 3, section 3.2)."""
