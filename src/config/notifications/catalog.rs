//! The built-in catalog: `(key, source)` in the users' own format, one file each (notifications.md §14, §19).

/// Triggers and templates of Applications.
pub const CATALOG: &[(&str, &str)] = &[
    ("template.app-created", include_str!("../../../templates/notifications/template.app-created.yaml")),
    ("template.app-deleted", include_str!("../../../templates/notifications/template.app-deleted.yaml")),
    ("template.app-deployed", include_str!("../../../templates/notifications/template.app-deployed.yaml")),
    (
        "template.app-health-degraded",
        include_str!("../../../templates/notifications/template.app-health-degraded.yaml"),
    ),
    ("template.app-sync-failed", include_str!("../../../templates/notifications/template.app-sync-failed.yaml")),
    ("template.app-sync-running", include_str!("../../../templates/notifications/template.app-sync-running.yaml")),
    (
        "template.app-sync-status-unknown",
        include_str!("../../../templates/notifications/template.app-sync-status-unknown.yaml"),
    ),
    ("template.app-sync-succeeded", include_str!("../../../templates/notifications/template.app-sync-succeeded.yaml")),
    ("trigger.on-created", include_str!("../../../templates/notifications/trigger.on-created.yaml")),
    ("trigger.on-deleted", include_str!("../../../templates/notifications/trigger.on-deleted.yaml")),
    ("trigger.on-deployed", include_str!("../../../templates/notifications/trigger.on-deployed.yaml")),
    ("trigger.on-health-degraded", include_str!("../../../templates/notifications/trigger.on-health-degraded.yaml")),
    ("trigger.on-sync-failed", include_str!("../../../templates/notifications/trigger.on-sync-failed.yaml")),
    ("trigger.on-sync-running", include_str!("../../../templates/notifications/trigger.on-sync-running.yaml")),
    (
        "trigger.on-sync-status-unknown",
        include_str!("../../../templates/notifications/trigger.on-sync-status-unknown.yaml"),
    ),
    ("trigger.on-sync-succeeded", include_str!("../../../templates/notifications/trigger.on-sync-succeeded.yaml")),
];

/// Triggers and templates of image events.
pub const IMAGE_CATALOG: &[(&str, &str)] = &[
    ("template.image-degraded", include_str!("../../../templates/notifications/template.image-degraded.yaml")),
    ("template.image-healthy", include_str!("../../../templates/notifications/template.image-healthy.yaml")),
    ("template.image-recovered", include_str!("../../../templates/notifications/template.image-recovered.yaml")),
    (
        "template.image-update-failed",
        include_str!("../../../templates/notifications/template.image-update-failed.yaml"),
    ),
    ("template.image-updated", include_str!("../../../templates/notifications/template.image-updated.yaml")),
    ("trigger.on-image-degraded", include_str!("../../../templates/notifications/trigger.on-image-degraded.yaml")),
    ("trigger.on-image-healthy", include_str!("../../../templates/notifications/trigger.on-image-healthy.yaml")),
    ("trigger.on-image-recovered", include_str!("../../../templates/notifications/trigger.on-image-recovered.yaml")),
    (
        "trigger.on-image-update-failed",
        include_str!("../../../templates/notifications/trigger.on-image-update-failed.yaml"),
    ),
    ("trigger.on-image-updated", include_str!("../../../templates/notifications/trigger.on-image-updated.yaml")),
];

/// `--builtin-catalog` (§19). A key of the ConfigMap always wins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CatalogMode {
    /// What is about images always; what is about Applications only if the ConfigMap holds no `trigger.*` key.
    #[default]
    Auto,
    /// Everything.
    All,
    /// Only what is about images.
    Image,
    /// Nothing.
    None,
}

impl CatalogMode {
    /// What is offered beside a ConfigMap with or without triggers of its own.
    pub(super) fn entries(self, own_triggers: bool) -> impl Iterator<Item = &'static (&'static str, &'static str)> {
        let (applications, images) = match self {
            CatalogMode::Auto => (!own_triggers, true),
            CatalogMode::All => (true, true),
            CatalogMode::Image => (false, true),
            CatalogMode::None => (false, false),
        };
        let part = |wanted: bool, part: &'static [(&str, &str)]| if wanted { part } else { &[] };
        part(applications, CATALOG).iter().chain(part(images, IMAGE_CATALOG))
    }
}

#[cfg(test)]
mod tests;
