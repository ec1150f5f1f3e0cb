//! What can go wrong with a remote or its mirror, told apart by what somebody must do about it. Texts never hold
//! credentials: remotes are named without user information, and servers' words are cleaned and cut.

use crate::core::retry::Retry;
use crate::core::writeback::Refusal;
use std::io;

/// A failed operation on a remote or a mirror. `remote` is the URL as shown to people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No connection, no answer in time, or an answer that is no Git server's; also a certificate nobody vouches for.
    #[error("{remote}: {text}")]
    Unreachable {
        /// Which remote.
        remote: String,
        /// What happened.
        text: String,
        /// When trying again may help.
        retry: Retry,
    },
    /// The remote does not accept the credentials, or hides the repository from them.
    #[error("{remote}: {text}")]
    Auth {
        /// Which remote.
        remote: String,
        /// What it said.
        text: String,
    },
    /// The host's ssh key is unknown, another one than known, or revoked (GIT-2).
    #[error("{remote}: {text}")]
    HostKey {
        /// Which remote.
        remote: String,
        /// Type, fingerprint and how to add it.
        text: String,
    },
    /// The settings of this remote cannot work as they are.
    #[error("{remote}: {text}")]
    Config {
        /// Which remote.
        remote: String,
        /// What is wrong.
        text: String,
    },
    /// The remote does not have this branch or commit (any more).
    #[error("{remote}: {text}")]
    Missing {
        /// Which remote.
        remote: String,
        /// What is missing.
        text: String,
    },
    /// More than the limits of image-updates.md §25 allow.
    #[error("{remote}: {text}")]
    TooLarge {
        /// Which remote.
        remote: String,
        /// Which limit.
        text: String,
    },
    /// A change that must not be written (PATH-1).
    #[error("{}: {}", .0.path, .0.text)]
    Refused(Refusal),
    /// The mirror on disk cannot be used: disk full, damaged, locked by another process for too long.
    #[error("mirror of {remote}: {text}")]
    Mirror {
        /// Which remote.
        remote: String,
        /// What happened.
        text: String,
    },
}

impl Error {
    /// The stable kind of image-updates.md §22.
    pub fn kind(&self) -> &'static str {
        match self {
            Error::Unreachable { .. } | Error::TooLarge { .. } | Error::Missing { .. } => "git-unreachable",
            Error::Auth { .. } => "git-auth",
            Error::HostKey { .. } => "git-host-key",
            Error::Config { .. } => "config-invalid",
            Error::Refused(refusal) => refusal.kind,
            Error::Mirror { .. } => "internal",
        }
    }

    /// Whether trying again may help without anybody changing anything.
    pub fn retry(&self) -> Retry {
        match self {
            Error::Unreachable { retry, .. } => *retry,
            Error::Missing { .. } | Error::Mirror { .. } => Retry::Backoff,
            Error::Auth { .. }
            | Error::HostKey { .. }
            | Error::Config { .. }
            | Error::TooLarge { .. }
            | Error::Refused(_) => Retry::Never,
        }
    }

    pub(super) fn unreachable(remote: &str, text: impl Into<String>) -> Error {
        Error::Unreachable { remote: remote.to_owned(), text: text.into(), retry: Retry::Backoff }
    }

    /// An answer that makes no sense: trying again may meet a healthy server.
    pub(super) fn nonsense(remote: &str, text: &str) -> Error {
        Error::unreachable(remote, format!("no usable Git answer: {text}"))
    }

    pub(super) fn mirror(remote: &str, text: impl ToString) -> Error {
        Error::Mirror { remote: remote.to_owned(), text: clean(text.to_string().as_bytes(), 300) }
    }
}

/// Lets a typed error pass through `std::io` and come out again.
impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        io::Error::other(error)
    }
}

/// The typed error inside, else a broken connection.
pub(super) fn from_io(remote: &str, error: io::Error) -> Error {
    if error.get_ref().is_some_and(|inner| inner.is::<Error>())
        && let Some(inner) = error.into_inner()
    {
        return match inner.downcast::<Error>() {
            Ok(typed) => *typed,
            Err(other) => Error::unreachable(remote, other.to_string()),
        };
    }
    Error::unreachable(remote, "the connection broke")
}

/// Why a push did not end in `Ok`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// The branch is not where it was expected; nothing was changed (GIT-9).
    #[error("the branch moved")]
    Moved,
    /// The remote will not have it: protected branch, hook, permission (GIT-10). At most 1 KiB of the server's words.
    #[error("refused by the remote: {0}")]
    Refused(String),
    /// The request left and nobody knows what became of it; settle before touching the branch (GIT-15).
    #[error("outcome unknown: {0}")]
    Unknown(String),
    /// Nothing left, or nothing that could have changed the branch.
    #[error(transparent)]
    Failed(#[from] Error),
}

impl PushError {
    /// Whether trying again may help without anybody changing anything.
    pub fn retry(&self) -> Retry {
        match self {
            PushError::Moved | PushError::Unknown(_) => Retry::Backoff,
            PushError::Refused(_) => Retry::Never,
            PushError::Failed(error) => error.retry(),
        }
    }
}

/// A server's words, fit for people: control characters become spaces, runs of them one, at most `limit` bytes.
pub(super) fn clean(words: &[u8], limit: usize) -> String {
    let mut text = String::new();
    for word in String::from_utf8_lossy(words).split(|c: char| c.is_whitespace() || c.is_control()) {
        if word.is_empty() {
            continue;
        }
        if !text.is_empty() {
            text.push(' ');
        }
        text.extend(word.chars().filter(|c| !direction_or_invisible(*c)));
    }
    let mut end = limit.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

/// Characters that reorder or hide the text around them.
fn direction_or_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_10_a_servers_words_are_cleaned_and_cut() {
        for (words, limit, shown) in [
            (&b"  protected\r\n\x1b[31mbranch\0hook "[..], 100, "protected [31mbranch hook"),
            ("ä\u{202e}öü".as_bytes(), 5, "äö"),
            (b"\xff\xfe", 10, "\u{fffd}\u{fffd}"),
            (b"", 10, ""),
        ] {
            assert_eq!(clean(words, limit), shown);
        }
    }

    #[test]
    fn a_typed_error_survives_the_way_through_io() {
        let typed = Error::Auth { remote: "r".into(), text: "no".into() };
        assert_eq!(from_io("r", io::Error::from(typed.clone())), typed);
        assert!(matches!(from_io("r", io::Error::from(io::ErrorKind::BrokenPipe)), Error::Unreachable { .. }));
    }
}
