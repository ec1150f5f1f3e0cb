//! A value nobody may read by accident: it prints as `***`, compares in constant time and is wiped when the last
//! copy goes. Only adapters call [`Secret::expose`] (architecture.md invariant 7, kept by tests/tidy.rs); putting
//! secrets into the places that name them ([`fill`]) happens here, so that no other file of this room reads one.

use secrecy::{ExposeSecret, SecretSlice};
use std::collections::BTreeMap;
use std::fmt;
use std::str::Utf8Error;
use std::sync::Arc;

/// A password, token, private key or whole credential. Clones share one allocation.
#[derive(Clone)]
pub struct Secret(Arc<SecretSlice<u8>>);

impl Secret {
    /// Takes over text or bytes. The argument's own buffer becomes the secret's where its capacity fits, so pass
    /// owned values rather than copies.
    pub fn new(value: impl Into<Vec<u8>>) -> Self {
        Secret(Arc::new(SecretSlice::from(value.into())))
    }

    /// The bytes. Never put them into an error, a log line or anything with `Debug`.
    pub fn expose(&self) -> &[u8] {
        self.0.expose_secret()
    }

    /// The bytes as text.
    ///
    /// # Errors
    /// If they are not UTF-8; the error names a position, never a byte of the value.
    pub fn expose_text(&self) -> Result<&str, Utf8Error> {
        std::str::from_utf8(self.expose())
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.expose_secret().is_empty()
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.0.expose_secret().len()
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Secret::new(text)
    }
}

impl From<Vec<u8>> for Secret {
    fn from(bytes: Vec<u8>) -> Self {
        Secret::new(bytes)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        let (a, b) = (self.expose(), other.expose());
        a.len() == b.len() && a.iter().zip(b).fold(0, |all, (x, y)| all | (x ^ y)) == 0
    }
}

impl Eq for Secret {}

/// What became of one `$key` in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reference {
    /// Replaced.
    Filled,
    /// Replaced, without the line breaks at the end of the value (CFG-10).
    Trimmed,
    /// No such key; the text stays.
    Missing,
    /// No such key, and the text reads `$secret:key`, which names another Secret elsewhere in Argo CD but not here.
    OtherSecret,
    /// The value is not UTF-8; the text stays.
    NotText,
}

/// Replaces every `$key` (letters, digits, `_`, `-`) by the secret of that name and says what became of each, in
/// order (notifications.md §2.3). What a value contains is not looked at again.
pub fn fill(text: &str, secrets: &BTreeMap<String, Secret>) -> (String, Vec<(String, Reference)>) {
    let mut filled = String::with_capacity(text.len());
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        let after = &rest[dollar + 1..];
        let end = after.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))).unwrap_or(after.len());
        filled.push_str(&rest[..dollar]);
        let key = &after[..end];
        rest = &after[end..];
        if key.is_empty() {
            filled.push('$');
            continue;
        }
        let outcome = match secrets.get(key).map(Secret::expose_text) {
            Some(Ok(value)) => {
                let trimmed = value.trim_end_matches(['\r', '\n']);
                filled.push_str(trimmed);
                if trimmed.len() == value.len() { Reference::Filled } else { Reference::Trimmed }
            }
            missing => {
                filled.push('$');
                filled.push_str(key);
                let other = rest.strip_prefix(':').is_some_and(|name| name.starts_with(|c: char| c.is_alphanumeric()));
                match missing {
                    Some(_) => Reference::NotText,
                    None if other => Reference::OtherSecret,
                    None => Reference::Missing,
                }
            }
        };
        found.push((key.to_owned(), outcome));
    }
    filled.push_str(rest);
    (filled, found)
}

/// The shortest value that [`mask`] looks for: shorter ones would blacken half of any text (SEC-01).
const SHORTEST_MASKED: usize = 6;

/// The text with `***` where one of these secrets stands in it (SEC-01): for sentences that repeat what a person wrote
/// after references were filled in.
pub fn mask<'a>(text: &str, secrets: impl IntoIterator<Item = &'a Secret>) -> String {
    let mut masked = text.to_owned();
    for secret in secrets {
        if let Ok(value) = secret.expose_text().map(|value| value.trim_end_matches(['\r', '\n']))
            && value.len() >= SHORTEST_MASKED
        {
            masked = masked.replace(value, "***");
        }
    }
    masked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sec_01_a_secret_prints_as_stars_wherever_it_is() {
        #[derive(Debug)]
        #[allow(dead_code)]
        struct Holder {
            user: &'static str,
            password: Secret,
            more: Option<Secret>,
        }
        let holder = Holder { user: "bot", password: Secret::new("hunter2"), more: Some(Secret::new(vec![104, 117])) };
        for text in [format!("{holder:?}"), format!("{holder:#?}")] {
            assert!(!text.contains("hunter2") && !text.contains("104") && text.contains("***"), "{text}");
        }
    }

    #[test]
    fn a_secret_gives_back_what_was_put_in_and_compares_by_value() {
        let secret = Secret::new("p:ä ss".to_owned());
        assert_eq!(secret.expose_text(), Ok("p:ä ss"));
        assert_eq!(secret.len(), 7);
        assert_eq!(secret, Secret::from("p:ä ss".to_owned()));
        assert_ne!(secret, Secret::new("p:ä st"));
        assert_ne!(secret, Secret::new("p:ä s"));
        assert!(Secret::new("").is_empty());
        assert!(Secret::new(vec![0xff]).expose_text().is_err());
    }

    #[test]
    fn section_2_3_references_are_filled_in_place() {
        let pairs = [("user", "u"), ("pw", "$user"), ("tok", "abc\r\n"), ("word1", "X"), ("tls", "T"), ("n", "12345")];
        let mut secrets: BTreeMap<String, Secret> =
            pairs.into_iter().map(|(key, value)| (key.to_owned(), Secret::new(value.to_owned()))).collect();
        secrets.insert("raw".into(), Secret::new(vec![0xff]));
        use Reference::{Filled, Missing, NotText, OtherSecret, Trimmed};
        for (text, filled, outcomes) in [
            ("plain", "plain", vec![]),
            ("$user:$pw", "u:$user", vec![Filled, Filled]),
            ("Bearer $tok!", "Bearer abc!", vec![Trimmed]),
            ("$nope and $", "$nope and $", vec![Missing]),
            ("$other-secret:key", "$other-secret:key", vec![OtherSecret]),
            ("$nope:$pw", "$nope:$user", vec![Missing, Filled]),
            ("$tls.key", "T.key", vec![Filled]),
            ("pa$word1", "paX", vec![Filled]),
            ("$$n", "$12345", vec![Filled]),
            ("ä$näh", "ä12345äh", vec![Filled]),
            ("$raw", "$raw", vec![NotText]),
        ] {
            let (result, found) = fill(text, &secrets);
            assert_eq!(result, filled, "{text}");
            assert_eq!(found.into_iter().map(|(_, outcome)| outcome).collect::<Vec<_>>(), outcomes, "{text}");
        }
    }
}
