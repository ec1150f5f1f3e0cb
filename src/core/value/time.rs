//! Moments, spans and layouts with Go's semantics.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Go's `time.Time`: an instant with the zone it is shown in.
#[derive(Clone, Debug)]
pub struct Moment {
    /// The instant.
    pub at: Timestamp,
    /// The zone it is shown in.
    pub zone: TimeZone,
}

impl Moment {
    /// The instant, shown in UTC.
    pub fn utc(at: Timestamp) -> Self {
        Moment { at, zone: TimeZone::UTC }
    }
}
