//! The only outbound HTTP client: deadlines, sizes, redirects, trust, address checks.
