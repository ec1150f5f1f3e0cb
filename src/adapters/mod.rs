//! Act on the world, decide nothing. One room per neighbour; rooms never name each other, only `http`.
pub mod cluster;
pub mod git;
pub mod http;
pub mod manifests;
pub mod registry;
pub mod services;
pub mod store;
