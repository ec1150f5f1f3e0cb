//! Cutting texts into words by the case of their letters, as the Go library behind sprig does: `snakecase`,
//! `kebabcase`, `camelcase`, `swapcase`.

use super::text::{is_space, lower, title_char, upper};

/// goutils' `SwapCase`: the first letter of a word becomes a title letter.
pub(super) fn swap_case(source: &str) -> String {
    let mut space = true;
    source
        .chars()
        .map(|c| {
            if c.is_uppercase() || matches!(c, 'ǅ' | 'ǈ' | 'ǋ' | 'ǲ') {
                space = false;
                lower(c)
            } else if c.is_lowercase() {
                if std::mem::take(&mut space) { title_char(c) } else { upper(c) }
            } else {
                space = is_space(c);
                c
            }
        })
        .collect()
}

/// The characters in an order that depends on nothing but the text: the same input gives the same output
/// (notifications.md P-7), where the Go library uses a random source.
pub(super) fn shuffle(source: &str) -> String {
    let mut chars: Vec<char> = source.chars().collect();
    let mut state: u64 =
        source.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    for i in (1..chars.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        chars.swap(i, (state >> 33) as usize % (i + 1));
    }
    chars.into_iter().collect()
}

fn is_connector(c: char) -> bool {
    c == '-' || c == '_' || is_space(c)
}

/// xstrings' `ToPascalCase`.
pub(super) fn pascal(source: &str) -> String {
    let mut chars = source.chars().peekable();
    let mut out = String::with_capacity(source.len());
    let mut current = None;
    let mut first_upper = false;
    // Leading connectors stay.
    while let Some(c) = chars.next() {
        current = Some(c);
        if !is_connector(c) {
            first_upper = c.is_uppercase();
            current = Some(upper(c));
            break;
        }
        if chars.peek().is_some() {
            out.push(c);
        }
    }
    let Some(mut current) = current else { return out };
    if chars.peek().is_none() {
        // The library writes a lone trailing connector twice.
        if is_connector(current) {
            out.push(current);
        }
        out.push(current);
        return out;
    }
    for c in chars {
        let before = current;
        current = c;
        if is_connector(current) && is_connector(before) {
            out.push(before);
            continue;
        }
        if is_connector(before) {
            first_upper = current.is_uppercase();
            current = upper(current);
        } else {
            if first_upper {
                if current.is_uppercase() {
                    current = lower(current);
                } else {
                    first_upper = false;
                }
            }
            out.push(before);
        }
    }
    out.push(current);
    out
}

#[derive(Clone, Copy, PartialEq)]
enum Word {
    None,
    Number,
    Upper,
    Alphabet,
    Connector,
    Punct,
    Other,
}

/// xstrings' `ToSnakeCase` and `ToKebabCase`.
pub(super) fn connected(source: &str, connector: char) -> String {
    let mut out = String::with_capacity(source.len() + 8);
    let (mut kind, mut word, mut rest) = next_word(source);
    while !rest.is_empty() {
        if kind != Word::Connector {
            push_lower(&mut out, kind, word, connector);
        }
        let (before, last) = (kind, word);
        (kind, word, rest) = next_word(rest);
        match before {
            Word::Number => {
                while matches!(kind, Word::Alphabet | Word::Number) {
                    push_lower(&mut out, kind, word, connector);
                    (kind, word, rest) = next_word(rest);
                }
                if !matches!(kind, Word::None | Word::Punct | Word::Connector) {
                    out.push(connector);
                }
            }
            Word::Connector => push_lower(&mut out, before, last, connector),
            Word::Punct => {}
            _ if kind != Word::Number => {
                if !matches!(kind, Word::Connector | Word::Punct) {
                    out.push(connector);
                }
            }
            _ if rest.is_empty() => {}
            _ => {
                let number = word;
                (kind, word, rest) = next_word(rest);
                if kind != Word::Alphabet {
                    // The number belongs to the word before it.
                    push_lower(&mut out, Word::Number, number, connector);
                    if !matches!(kind, Word::Connector | Word::Punct) {
                        out.push(connector);
                    }
                    continue;
                }
                // Lower-case letters follow: it begins a word of its own.
                out.push(connector);
                push_lower(&mut out, Word::Number, number, connector);
                while matches!(kind, Word::Alphabet | Word::Number) {
                    push_lower(&mut out, kind, word, connector);
                    (kind, word, rest) = next_word(rest);
                }
                if !matches!(kind, Word::None | Word::Connector | Word::Punct) {
                    out.push(connector);
                }
            }
        }
    }
    push_lower(&mut out, kind, word, connector);
    out
}

fn push_lower(out: &mut String, kind: Word, word: &str, connector: char) {
    if !matches!(kind, Word::Upper | Word::Connector) {
        out.push_str(word);
        return;
    }
    for c in word.chars() {
        out.push(if is_connector(c) {
            connector
        } else if c.is_uppercase() {
            lower(c)
        } else {
            c
        });
    }
}

/// Letters other than ideographs.
fn is_alphabet(c: char) -> bool {
    c.is_alphabetic() && !matches!(c, '\u{4e00}'..='\u{9fcc}' | '\u{3400}'..='\u{4d85}' | '\u{20000}'..='\u{2b81d}')
}

fn is_punct(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_punctuation() && !"$+<=>^`|~".contains(c);
    }
    !c.is_alphanumeric() && !is_space(c) && super::super::text::is_print(c)
}

fn run_length(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.find(|c| !belongs(c)).unwrap_or(text.len())
}

fn next_word(source: &str) -> (Word, &str, &str) {
    let Some(c) = source.chars().next() else { return (Word::None, "", "") };
    let first = c.len_utf8();
    let tail = &source[first..];
    let small = |c: char| is_alphabet(c) && !c.is_uppercase();
    let (kind, length) = if is_connector(c) {
        (Word::Connector, first + run_length(tail, is_connector))
    } else if is_punct(c) {
        (Word::Punct, first + run_length(tail, is_punct))
    } else if c.is_uppercase() {
        let capitals = run_length(tail, char::is_uppercase);
        let after = &tail[capitals..];
        let length = match after.chars().next() {
            // `HTTPStatus` is HTTP and Status: the last capital belongs to the next word.
            Some(next) if capitals > 0 && is_alphabet(next) => {
                let last = tail[..capitals].chars().next_back().map_or(0, char::len_utf8);
                first + capitals - last
            }
            Some(next) if capitals == 0 && is_alphabet(next) => first + run_length(tail, small),
            _ => first + capitals,
        };
        (Word::Upper, length)
    } else if is_alphabet(c) {
        (Word::Alphabet, first + run_length(tail, small))
    } else if c.is_numeric() {
        (Word::Number, first + run_length(tail, char::is_numeric))
    } else {
        let ends = |c: char| is_connector(c) || is_alphabet(c) || c.is_numeric() || is_punct(c);
        (Word::Other, first + run_length(tail, |c| !ends(c)))
    };
    let (word, rest) = source.split_at(length);
    (kind, word, rest)
}
