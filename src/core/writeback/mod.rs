//! Edits as text in, text out: where a value is written, what stands there now, and the bytes after the change (image-updates.md §13-§16).
