//! The image half from end to end: the built daemon, a real API server under the shipped Role, a real registry, real
//! Git servers.

mod bad_input;
mod kill;
mod methods;
mod offline;
mod registries;
mod stage;
mod told;
mod walk;
