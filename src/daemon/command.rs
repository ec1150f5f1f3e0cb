//! What a face may ask of the daemon.

use crate::core::application::AppKey;

/// A request; a hint to look, never a fact to act on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Look at this Application now.
    Refresh(AppKey),
    /// Look at everything now.
    RefreshAll,
}
