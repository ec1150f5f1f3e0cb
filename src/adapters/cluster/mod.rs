//! The Kubernetes API: watches, narrow patches, Events.
