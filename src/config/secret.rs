//! Secret: a value that prints as ***.
