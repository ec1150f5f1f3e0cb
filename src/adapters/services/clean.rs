//! Keeps secret values out of texts, also where they come back encoded (SEC-01).

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::config::secret::Secret;

/// Shorter values would blank out ordinary words.
const SHORTEST: usize = 6;

/// Replaces secrets by `***`.
pub struct Cleaner {
    forms: Vec<String>,
}

impl Cleaner {
    /// For these; values that are too short or no text stay.
    pub fn new(secrets: &[Secret]) -> Cleaner {
        let mut forms = Vec::new();
        for secret in secrets {
            let Ok(value) = secret.expose_text() else { continue };
            let value = value.trim_end_matches(['\r', '\n']);
            if value.len() < SHORTEST {
                continue;
            }
            forms.push(value.to_owned());
            forms.extend([STANDARD.encode(value), STANDARD_NO_PAD.encode(value), URL_SAFE_NO_PAD.encode(value)]);
            forms.push(utf8_percent_encode(value, NON_ALPHANUMERIC).to_string());
            forms.push(url::form_urlencoded::byte_serialize(value.as_bytes()).collect());
            let json = serde_json::Value::from(value).to_string().trim_matches('"').to_owned();
            // As Go writes it, which the templates' `toJson` does too.
            forms.push(json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026"));
            forms.push(json);
        }
        // Longest first: a form inside another one must not leave the rest of it standing.
        forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
        forms.dedup();
        Cleaner { forms }
    }

    /// A text that is known to be whole.
    pub fn whole(&self, text: &str) -> String {
        self.forms.iter().fold(text.to_owned(), |text, form| text.replace(form.as_str(), "***"))
    }

    /// Also where a text was cut in the middle of a secret.
    pub(super) fn clean(&self, text: &str) -> String {
        let mut text = self.whole(text);
        let beginnings = self.forms.iter().flat_map(|form| form.char_indices().map(|(end, _)| &form[..end]));
        let cut = beginnings.filter(|part| part.len() >= SHORTEST && text.ends_with(part)).map(str::len).max();
        if let Some(length) = cut {
            text.truncate(text.len() - length);
            text.push_str("***");
        }
        text
    }
}
