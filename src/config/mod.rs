//! What people wrote, as values and problems: text in, every mistake isolated to its key. Pure.
pub mod annotations;
pub mod credential_form;
pub mod notifications;
pub mod registries;
pub mod secret;
pub mod services;
pub mod settings;
pub mod yaml;
