//! The outbound client against peers on loopback, good and bad.
