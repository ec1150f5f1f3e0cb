//! The image half's decisions: tracked images, the desired state, the decision, the plan (image-updates.md §8, §12, §17).
