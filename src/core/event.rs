//! Event: the closed list of what the image half did; the only word both halves share (image-updates.md §22).
