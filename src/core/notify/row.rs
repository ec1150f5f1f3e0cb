//! Row: one delivery's life in the outbox (notifications.md §11.2), and which moves are legal.

use jiff::Timestamp;

use super::message::Message;
use crate::core::application::AppKey;

/// One event for one destination.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// `evt_…`: equal over all attempts, restarts and replays.
    pub id: String,
    /// `occ_…`.
    pub occurrence: String,
    /// The Application.
    pub app: AppKey,
    /// Its UID.
    pub app_uid: String,
    /// The trigger's name.
    pub trigger: String,
    /// `[<index>].<hash>` of the condition.
    pub condition: String,
    /// The ledger key that stands for it; empty for events of the image half, which leave no mark (IMG-02).
    pub state_key: String,
    /// Service name.
    pub service: String,
    /// Recipient, as written; may be empty.
    pub recipient: String,
    /// Templates to render, in order.
    pub templates: Vec<String>,
    /// What is sent.
    pub payload: Payload,
    /// Where it stands.
    pub state: RowState,
    /// Attempts begun so far.
    pub attempts: u32,
    /// When the event was seen.
    pub event_at: Timestamp,
    /// The last failure, cleaned of secrets; empty if none.
    pub last_error: String,
    /// An earlier attempt ended with an unknown outcome: a copy may have arrived (LAN-07).
    pub possible_repeat: bool,
    /// Steps of a delivery of several calls that are finished (OUT-05).
    pub steps: Vec<String>,
}

/// What a row sends.
#[derive(Clone, Debug, PartialEq)]
pub enum Payload {
    /// Rendered once, reused by every attempt.
    Rendered(Message),
    /// Rendered at each attempt from the stored object: something slow is needed, or it showed a secret and is
    /// not stored (TPL-09).
    Deferred,
    /// A program target whose template failed: parked until the configuration changes (TPL-08).
    Failed(String),
}

/// `planned → sending → done | retry_at | dead`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowState {
    /// Durable, not yet attempted.
    Planned,
    /// An attempt began in this epoch; durable before the first byte leaves.
    Sending {
        /// The process's epoch.
        epoch: i64,
        /// When it began.
        since: Timestamp,
    },
    /// Again at this moment.
    RetryAt {
        /// The moment.
        at: Timestamp,
        /// Whether a change of configuration brings it forward (healable rejection, §12.2).
        healable: bool,
    },
    /// The receiver accepted it.
    Done {
        /// When.
        at: Timestamp,
    },
    /// Given up, visibly.
    Dead {
        /// When.
        at: Timestamp,
        /// `rejected`, `expired`, `unknown`, `dropped`.
        reason: String,
    },
}

impl RowState {
    /// The word in the store, in `history` and in metrics.
    pub fn word(&self) -> &'static str {
        match self {
            RowState::Planned => "planned",
            RowState::Sending { .. } => "sending",
            RowState::RetryAt { .. } => "retry_at",
            RowState::Done { .. } => "done",
            RowState::Dead { .. } => "dead",
        }
    }

    /// Whether nothing more will happen by itself.
    pub fn is_final(&self) -> bool {
        matches!(self, RowState::Done { .. } | RowState::Dead { .. })
    }

    /// Whether the outbox may move from this state to `next`: an attempt starts from `planned` or `retry_at`, ends
    /// from `sending`; a row that waits may also be given up; `replay` starts a dead row again.
    pub fn may_become(&self, next: &RowState) -> bool {
        use RowState::{Dead, Done, Planned, RetryAt, Sending};
        matches!(
            (self, next),
            (Planned | RetryAt { .. }, Sending { .. } | RetryAt { .. } | Dead { .. })
                | (Sending { .. }, Done { .. } | RetryAt { .. } | Dead { .. })
                | (Dead { .. }, Planned)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn section_11_2_only_the_drawn_moves_are_legal() {
        let at = Timestamp::UNIX_EPOCH;
        let states = [
            RowState::Planned,
            RowState::Sending { epoch: 1, since: at },
            RowState::RetryAt { at, healable: false },
            RowState::Done { at },
            RowState::Dead { at, reason: "expired".into() },
        ];
        let table = [
            // planned, sending, retry_at, done, dead
            [false, true, true, false, true],
            [false, false, true, true, true],
            [false, true, true, false, true],
            [false, false, false, false, false],
            [true, false, false, false, false],
        ];
        for (from, row) in states.iter().zip(table) {
            for (to, legal) in states.iter().zip(row) {
                assert_eq!(from.may_become(to), legal, "{} to {}", from.word(), to.word());
            }
        }
    }
}
