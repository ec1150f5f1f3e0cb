//! Hands over to `cli`; nothing else.
fn main() {}
