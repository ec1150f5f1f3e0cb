//! The image half from end to end: the built daemon, a real API server under the shipped Role, a real registry, real
//! Git servers.

mod bad_input;
mod cutover;
mod ending;
mod examples;
mod kill;
mod leader;
mod methods;
mod offline;
mod owners;
mod parents;
mod registries;
mod shared;
mod sources;
mod stage;
mod tenants;
mod told;
mod walk;
