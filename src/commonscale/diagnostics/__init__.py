"""The gap between modalities in numbers, pictures and words."""
