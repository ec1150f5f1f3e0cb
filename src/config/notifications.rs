//! argocd-notifications-cm and -secret: each key compiles alone (notifications.md §2).
