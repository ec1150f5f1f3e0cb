//! A unified diff of one file, for people: `plan`, `explain`, the journal, messages.

use similar::TextDiff;

/// Unified diff with three lines of context; empty if nothing differs. A file that did not exist is `/dev/null`.
pub fn unified(path: &str, before: Option<&[u8]>, after: &[u8]) -> String {
    let old = String::from_utf8_lossy(before.unwrap_or_default());
    let new = String::from_utf8_lossy(after);
    let old_name = if before.is_some() { format!("a/{path}") } else { "/dev/null".to_owned() };
    TextDiff::from_lines(old.as_ref(), new.as_ref())
        .unified_diff()
        .context_radius(3)
        .header(&old_name, &format!("b/{path}"))
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_changed_line_is_one_line() {
        let diff = unified("v.yaml", Some(b"image:\n  tag: 1.0\n"), b"image:\n  tag: 1.1\n");
        assert_eq!(diff, "--- a/v.yaml\n+++ b/v.yaml\n@@ -1,2 +1,2 @@\n image:\n-  tag: 1.0\n+  tag: 1.1\n");
        assert_eq!(unified("v.yaml", Some(b"a\n"), b"a\n"), "");
        assert!(unified("v.yaml", None, b"a\n").starts_with("--- /dev/null\n+++ b/v.yaml\n"));
    }
}
