//! Secret values in use, kept out of whatever leaves the process as text: logs, problems, errors, Kubernetes Events, the
//! store (notifications.md SEC-01). Secrets do not print by themselves; this is for what comes back from elsewhere: a
//! server that repeats what it was sent, a library that quotes what it could not read.

use std::borrow::Cow;
use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use regex::Regex;

use crate::config::secret::Secret;

/// SEC-01: shorter values would blank out ordinary words.
const SHORTEST: usize = 6;
/// A line of a longer text, such as a private key, is a secret of its own from here on.
const SHORTEST_LINE: usize = 16;
/// More than any installation uses at once; the oldest are forgotten first, so that rotation does not pile up.
const MOST: usize = 4096;

#[derive(Default)]
struct Known {
    values: HashSet<Arc<[u8]>>,
    order: VecDeque<Arc<[u8]>>,
    /// All forms of all values; built when it is needed.
    pattern: Option<Regex>,
}

static KNOWN: LazyLock<RwLock<Known>> = LazyLock::new(RwLock::default);

/// From now on this value is masked.
pub fn know(secret: &Secret) {
    know_bytes(secret.expose());
}

/// The same for a value that was just taken apart from a longer one.
pub(super) fn know_bytes(value: &[u8]) {
    let value = value.trim_ascii_end();
    if value.len() < SHORTEST || KNOWN.read().unwrap_or_else(PoisonError::into_inner).values.contains(value) {
        return;
    }
    let mut known = KNOWN.write().unwrap_or_else(PoisonError::into_inner);
    let value: Arc<[u8]> = value.into();
    if known.values.insert(value.clone()) {
        known.order.push_back(value);
        known.pattern = None;
    }
    if known.order.len() > MOST
        && let Some(oldest) = known.order.pop_front()
    {
        known.values.remove(&oldest);
    }
}

/// The text with every known value replaced by `***`, also where it stands in base64, or escaped for a URL or JSON.
pub fn clean(text: &str) -> Cow<'_, str> {
    let known = KNOWN.read().unwrap_or_else(PoisonError::into_inner);
    if known.values.is_empty() {
        return Cow::Borrowed(text);
    }
    if let Some(pattern) = &known.pattern {
        return pattern.replace_all(text, "***");
    }
    drop(known);
    let mut known = KNOWN.write().unwrap_or_else(PoisonError::into_inner);
    let mut all: Vec<String> = known.values.iter().flat_map(|value| forms(value)).collect();
    // Longest first: a form inside another one must not leave the rest of it standing.
    all.sort_by_key(|form| std::cmp::Reverse(form.len()));
    all.dedup();
    let alternatives: Vec<String> = all.iter().map(|form| regex::escape(form)).collect();
    match regex::RegexBuilder::new(&alternatives.join("|")).size_limit(1 << 28).build() {
        Ok(pattern) => {
            let cleaned = pattern.replace_all(text, "***").into_owned();
            known.pattern = Some(pattern);
            Cow::Owned(cleaned)
        }
        // Too many for one pattern: slower, not laxer.
        Err(_) => Cow::Owned(all.iter().fold(text.to_owned(), |text, form| text.replace(form.as_str(), "***"))),
    }
}

/// How a value may show: itself, each line of a longer text, base64 at each of the three places where a value can begin
/// inside something longer, escaped for a URL, a form or JSON.
pub(super) fn forms(value: &[u8]) -> Vec<String> {
    let mut forms = vec![STANDARD.encode(value), URL_SAFE.encode(value), STANDARD_NO_PAD.encode(value)];
    for skipped in 0..3usize {
        let mut padded = vec![0; skipped];
        padded.extend_from_slice(value);
        // Characters that depend on what stands before or behind are left out.
        let (from, to) = ((skipped * 8).div_ceil(6), padded.len() * 8 / 6);
        for coded in [STANDARD_NO_PAD.encode(&padded), URL_SAFE_NO_PAD.encode(&padded)] {
            forms.push(coded[from..to.min(coded.len())].to_owned());
        }
    }
    let Ok(text) = std::str::from_utf8(value) else { return forms };
    forms.push(text.to_owned());
    let percent = utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    forms.push(percent.to_ascii_lowercase());
    forms.push(percent);
    // What browsers and most libraries leave as it is in a URL.
    const UNRESERVED: &percent_encoding::AsciiSet =
        &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    forms.push(utf8_percent_encode(text, UNRESERVED).to_string());
    forms.push(url::form_urlencoded::byte_serialize(text.as_bytes()).collect());
    let json = serde_json::Value::from(text).to_string();
    let json = json[1..json.len() - 1].to_owned();
    // JSON inside JSON: a body that a log line quotes.
    let twice = serde_json::Value::from(json.as_str()).to_string();
    forms.push(twice[1..twice.len() - 1].to_owned());
    // As Go's encoder writes it, and the templates' `toJson`.
    forms.push(json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026"));
    forms.push(json);
    if text.contains('\n') {
        let lines =
            text.lines().map(str::trim).filter(|line| line.len() >= SHORTEST_LINE && !line.starts_with("-----"));
        forms.extend(lines.map(str::to_owned));
    }
    forms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sec_01_every_form_of_a_known_value_is_masked() {
        let value = "pläin \"q\"/\\+%\tx-redact";
        know(&Secret::new(format!("{value}\n")));
        let json = serde_json::to_string(value).unwrap();
        let quoted = serde_json::to_string(&json).unwrap();
        for text in [
            value.to_owned(),
            json,
            quoted,
            STANDARD.encode(value),
            STANDARD.encode(format!("user:{value}")),
            STANDARD.encode(format!("a:{value} and more")),
            STANDARD.encode(format!("bb:{value}?")),
            utf8_percent_encode(value, NON_ALPHANUMERIC).to_string(),
            utf8_percent_encode(value, NON_ALPHANUMERIC).to_string().to_lowercase(),
            url::form_urlencoded::byte_serialize(value.as_bytes()).collect(),
        ] {
            let cleaned = clean(&text).into_owned();
            assert!(cleaned.contains("***"), "{text}: {cleaned}");
            assert!(!cleaned.contains("redact") && cleaned.len() < text.len(), "{text}: {cleaned}");
        }
        assert_eq!(clean("nothing of it"), "nothing of it");
    }

    #[test]
    fn sec_01_keys_are_masked_line_by_line_and_short_or_binary_values_by_what_they_are() {
        let key = "-----BEGIN KEY-----\nMIIredactLineOne0123456789\nMIIredactLineTwo0123456789\n-----END KEY-----\n";
        know(&Secret::new(key.to_owned()));
        assert_eq!(clean("at MIIredactLineTwo0123456789 it broke"), "at *** it broke");
        assert_eq!(clean("-----BEGIN KEY-----"), "-----BEGIN KEY-----");
        know(&Secret::new("short"));
        assert_eq!(clean("short"), "short", "less than six bytes are ordinary words");
        let binary = [0xff, 0xfe, 0x01, 0x80, 0x90, 0xa0, 0xb0, 0xc0];
        know(&Secret::new(binary.to_vec()));
        assert_eq!(clean(&STANDARD.encode(binary)), "***");
    }
}
