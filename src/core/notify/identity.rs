//! Identity: the state key, in the very text of Argo CD Notifications' annotation, and the ids of an occurrence and of
//! its event at one destination (notifications.md §10.1, §11.1).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// `base64url(sha1(when))` without padding: names a condition in the state annotation.
pub fn condition_hash(when: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha1::digest(when.as_bytes()))
}

/// `[<index>].<hash>`.
pub fn condition_key(index: usize, when: &str) -> String {
    format!("[{index}].{}", condition_hash(when))
}

/// The ledger key: `[<oncePer>:][<config namespace>:]<trigger>:[<index>].<hash>:<service>:<recipient>`. Empty parts
/// in front vanish with their colon.
pub fn state_key(
    once_per: &str,
    config_namespace: &str,
    trigger: &str,
    condition: &str,
    service: &str,
    recipient: &str,
) -> String {
    let mut key = String::new();
    for part in [once_per, config_namespace] {
        if !part.is_empty() {
            key.push_str(part);
            key.push(':');
        }
    }
    key.push_str(&format!("{trigger}:{condition}:{service}:{recipient}"));
    key
}

/// Whether a text looks like a state key: it holds `:[<index>].<27 letters of a hash>:`.
pub fn is_state_key(text: &str) -> bool {
    text.match_indices(":[").any(|(at, _)| {
        let Some((index, rest)) = text[at + 2..].split_once("].") else { return false };
        let Some((hash, _)) = rest.split_once(':') else { return false };
        let digits = !index.is_empty() && index.bytes().all(|b| b.is_ascii_digit());
        digits && hash.len() == 27 && hash.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    })
}

/// `occ_…`: one reason to notify for one condition of one Application.
pub fn occurrence_id(uid: &str, config_namespace: &str, trigger: &str, condition: &str, occurrence: &str) -> String {
    format!("occ_{}", hash(&["lynceus/occurrence/1", uid, config_namespace, trigger, condition, occurrence]))
}

/// `evt_…`: the same for one destination. Equal over all attempts, restarts and replays.
pub fn event_id(occurrence_id: &str, service: &str, recipient: &str) -> String {
    format!("evt_{}", hash(&["lynceus/event/1", occurrence_id, service, recipient]))
}

/// First 16 bytes of SHA-256 over the length-prefixed fields, in lower-case hex. Length prefixes keep
/// `("ab", "c")` and `("a", "bc")` apart.
fn hash(fields: &[&str]) -> String {
    let mut sum = Sha256::new();
    for field in fields {
        sum.update(format!("{}:", field.len()));
        sum.update(field.as_bytes());
    }
    sum.finalize()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vectors() -> serde_json::Value {
        let text = include_str!("../../../tests/fixtures/notify/state_annotation_10_1.json");
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn section_10_1_hash_vectors() {
        let vectors = vectors();
        let hashes = vectors["hashes"].as_array().unwrap();
        assert_eq!(hashes.len(), 10);
        for row in hashes {
            assert_eq!(condition_hash(row["when"].as_str().unwrap()), row["hash"].as_str().unwrap(), "{}", row["case"]);
        }
    }

    #[test]
    fn section_10_1_state_key_vectors() {
        use crate::core::notify::ledger::{Ledger, Mark, Origin, export};
        let vectors = vectors();
        let rows = vectors["keys"].as_array().unwrap();
        assert_eq!(rows.len(), 4);
        for row in rows {
            let text = |name: &str| row[name].as_str().unwrap();
            let key = state_key(
                text("once"),
                text("namespace"),
                text("trigger"),
                text("condition"),
                text("service"),
                text("recipient"),
            );
            let mark = Mark { origin: Origin::Planned, at: 1767225600, told: true };
            let ledger = Ledger { known: true, marks: [(key, mark)].into() };
            assert_eq!(export(&ledger, |_| true).as_deref(), Some(text("stored")), "{}", row["case"]);
        }
    }

    #[test]
    fn section_10_1_what_a_state_key_looks_like() {
        let vectors = vectors();
        for row in vectors["keys"].as_array().unwrap() {
            let stored: std::collections::BTreeMap<String, i64> =
                serde_json::from_str(row["stored"].as_str().unwrap()).unwrap();
            assert!(stored.keys().all(|key| is_state_key(key)), "{stored:?}");
        }
        for other in ["", "foreign", "a:[0].short:b:c", "a:[x].2jmj7l5rSw0yVb_vlWAYkK_YBwk:b:", "on-x:[0"] {
            assert!(!is_state_key(other), "{other}");
        }
    }

    #[test]
    fn section_11_1_event_id_vectors() {
        let uid = "3c6e0b8a-9f1d-4c6b-8a57-0d1f4c2e9b10";
        let first = occurrence_id(uid, "", "on-deployed", "[0].qyWrLKXYec9qR5FVB0ylUEJLjFg", "once:abc123");
        assert_eq!(first, "occ_8240a6ce91b80def35574f1888d1c0cd");
        assert_eq!(event_id(&first, "slack", "my-channel"), "evt_f45be676a6850e29cb8a6631117a43ee");
        let second = occurrence_id(
            uid,
            "team-a",
            "on-x",
            "[1].zxM90Et6k4Elb1-fHdjtDJq0xR0",
            "edge:2026-05-01T11:50:00Z|abc123@48211",
        );
        assert_eq!(second, "occ_5fd4784e52abd1487e53e7a24bf78f36");
        assert_eq!(event_id(&second, "hook", ""), "evt_76a6d938d08038e48ee317b9d9b20959");
    }
}
