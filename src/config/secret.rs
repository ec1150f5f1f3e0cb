//! A value nobody may read by accident: it prints as `***`, compares in constant time and is wiped when the last
//! copy goes. Only adapters call [`Secret::expose`] (architecture.md invariant 7, kept by tests/tidy.rs).

use secrecy::{ExposeSecret, SecretSlice};
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
}
