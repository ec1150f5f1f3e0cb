//! Names that Applications subscribe to and nobody defines: one problem per name with those concerned, not one per
//! Application (notifications.md CFG-14).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::config::notifications::Notifications;
use crate::core::application::AppKey;
use crate::core::problem::Problem;

/// So many Applications are named.
const NAMED: usize = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Trigger,
    Service,
}

/// Who uses which undefined name.
#[derive(Debug, Default)]
pub struct Undefined {
    users: Mutex<BTreeMap<(What, String), BTreeSet<AppKey>>>,
    /// Rings when the list has changed.
    pub changed: Notify,
}

impl Undefined {
    /// What one Application uses now.
    pub fn set(&self, app: &AppKey, triggers: &BTreeSet<String>, services: &BTreeSet<String>) {
        let mut users = self.users();
        let mut news = false;
        users.retain(|(what, name), apps| {
            let used = match what {
                What::Trigger => triggers.contains(name),
                What::Service => services.contains(name),
            };
            news |= !used && apps.remove(app);
            !apps.is_empty()
        });
        let names = triggers.iter().map(|name| (What::Trigger, name));
        for (what, name) in names.chain(services.iter().map(|name| (What::Service, name))) {
            news |= users.entry((what, name.clone())).or_default().insert(app.clone());
        }
        if news {
            self.changed.notify_one();
        }
    }

    /// The Application is gone.
    pub fn gone(&self, app: &AppKey) {
        self.set(app, &BTreeSet::new(), &BTreeSet::new());
    }

    /// One problem per name.
    pub fn problems(&self, configuration: &Notifications) -> Vec<Problem> {
        let problem = |((what, name), apps): (&(What, String), &BTreeSet<AppKey>)| {
            let mut problem = match what {
                What::Trigger => configuration.undefined_trigger(name),
                What::Service => configuration.undefined_service(name, ""),
            };
            let named: Vec<String> = apps.iter().take(NAMED).map(AppKey::to_string).collect();
            let more = if apps.len() > NAMED { ", …" } else { "" };
            let plural = if apps.len() == 1 { "" } else { "s" };
            problem.object = format!("{} Application{plural}", apps.len());
            problem.text = format!("{}; subscribed by {}{more}", problem.text, named.join(", "));
            problem
        };
        self.users().iter().map(problem).collect()
    }

    fn users(&self) -> MutexGuard<'_, BTreeMap<(What, String), BTreeSet<AppKey>>> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cfg_14_one_problem_per_name_with_the_first_ten_concerned() {
        let undefined = Undefined::default();
        let key = |n: usize| AppKey { namespace: "argocd".into(), name: format!("app-{n:02}") };
        let (gone, none) = (BTreeSet::from(["on-gone".to_owned()]), BTreeSet::new());
        for n in 0..12 {
            undefined.set(&key(n), &gone, &none);
        }
        undefined.set(&key(3), &gone, &["pager".to_owned()].into());
        let texts = |u: &Undefined| -> Vec<String> {
            u.problems(&Notifications::default()).iter().map(Problem::to_string).collect()
        };
        let found = texts(&undefined);
        assert_eq!(found.len(), 2);
        assert!(found[0].starts_with("12 Applications: there is no trigger `on-gone`; subscribed by argocd/app-00, "));
        assert!(found[0].contains("app-09, …") && !found[0].contains("app-10"), "{}", found[0]);
        assert!(found[1].starts_with("1 Application: there is no service `pager`"), "{}", found[1]);
        (0..11).for_each(|n| undefined.gone(&key(n)));
        assert_eq!(texts(&undefined), ["1 Application: there is no trigger `on-gone`; subscribed by argocd/app-11"]);
        undefined.set(&key(11), &none, &none);
        assert_eq!(texts(&undefined), [""; 0]);
    }
}
