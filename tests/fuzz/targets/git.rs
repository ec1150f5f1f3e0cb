//! What a Git server says.

use lynceus::adapters::git::advertisement;

/// Packet lines from the network: refs or an error, never more than was sent.
pub fn packets(input: &[u8]) {
    for service in [None, Some("git-upload-pack")] {
        let mut from = input;
        if let Ok(found) = advertisement("remote", &mut from, service) {
            let names: usize = found.branches.keys().chain(found.tags.keys()).map(String::len).sum();
            assert!(names <= input.len());
            assert!(found.default.as_ref().is_none_or(|branch| branch.len() <= input.len()));
        }
    }
}
