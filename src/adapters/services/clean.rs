//! Keeps a service's secret values out of its errors (SEC-01), also where a text was cut in the middle of one.

use crate::adapters::redact;
use crate::config::secret::Secret;

/// Shorter values would blank out ordinary words.
const SHORTEST: usize = 6;

/// Replaces the secrets of one service by `***`.
pub(super) struct Cleaner {
    forms: Vec<String>,
}

impl Cleaner {
    pub(super) fn new<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Cleaner {
        let mut forms = Vec::new();
        for secret in secrets {
            redact::know(secret);
            let value = secret.expose().trim_ascii_end();
            if value.len() >= SHORTEST {
                forms.extend(redact::forms(value));
            }
        }
        // Longest first: a form inside another one must not leave the rest of it standing.
        forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
        forms.dedup();
        Cleaner { forms }
    }

    pub(super) fn clean(&self, text: &str) -> String {
        let mut text = self.forms.iter().fold(text.to_owned(), |text, form| text.replace(form.as_str(), "***"));
        let beginnings = self.forms.iter().flat_map(|form| form.char_indices().map(|(end, _)| &form[..end]));
        let cut = beginnings.filter(|part| part.len() >= SHORTEST && text.ends_with(part)).map(str::len).max();
        if let Some(length) = cut {
            text.truncate(text.len() - length);
            text.push_str("***");
        }
        text
    }
}
