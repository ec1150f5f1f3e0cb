//! What people wrote, as values and problems: text in, every mistake isolated to its key. Pure.

mod annotation_keys;
pub mod annotations;
pub mod credential_form;
pub mod documents;
pub mod image_updaters;
pub mod notifications;
pub mod registries;
pub mod secret;
pub mod services;
pub mod settings;
pub mod yaml;
