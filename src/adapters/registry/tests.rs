//! Registries against the stand-in, well-behaved and scripted.
