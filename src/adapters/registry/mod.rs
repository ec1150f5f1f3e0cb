//! Container registries: what tags a repository has, and what is known of each (image-updates.md §9, §10).
