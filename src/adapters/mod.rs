//! Act on the world, decide nothing. One room per neighbour; rooms never name each other, only `http` and `redact`.
pub mod cluster;
pub mod git;
pub mod heap;
pub mod http;
pub mod manifests;
pub mod redact;
pub mod registry;
pub mod services;
pub mod store;
