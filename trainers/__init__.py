"""Trainers: supervised fine-tuning, reward models, preference tuning and RLVR over one small core."""
