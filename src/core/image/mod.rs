//! Images: references, tags, filters, versions and the strategies that choose among them (image-updates.md §7, §11).
