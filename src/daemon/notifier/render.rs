//! The text of a row that was planned without it, from the version of the Application that was kept with it
//! (notifications.md TPL-09, OUT-14).

use super::{Evaluator, commit_problem};
use crate::core::application::Application;
use crate::core::notify::catalog::{self, Topic};
use crate::core::notify::image;
use crate::core::notify::row::Row;
use crate::core::notify::variables::Commits;
use crate::core::value::Value;
use crate::daemon::delivery::{Rendered, Unrendered};

impl Evaluator {
    /// Renders a row that was planned without its text (TPL-09, HLP-05). A failed look-up gives a placeholder, never a
    /// lost message.
    pub async fn render_row(&self, row: &Row, packed: Option<&[u8]>) -> Result<Rendered, Unrendered> {
        let compiled = self.rules.borrow().clone();
        let Some(packed) = packed else {
            return Err(Unrendered::Parked("the Application's version is no longer kept".to_owned()));
        };
        let app = Application::unpack(packed).map_err(|p| Unrendered::Parked(p.text))?;
        let mut object = app.json();
        // Rows of image events keep the event with the object (IMG-02).
        let image = object.as_object_mut().and_then(|object| object.remove(image::STORED_AT)).unwrap_or_default();
        let Some(kind) = compiled.notifications.rules.services.get(&row.service).copied() else {
            return Err(Unrendered::Parked(format!("there is no service `{}`", row.service)));
        };
        let mut commits = Commits::new();
        let mut problems = Vec::new();
        loop {
            let mut facts = self.facts(&app, &compiled, commits.clone(), true);
            if !image.is_null() {
                (facts.app, facts.image) = (Value::from_json(&object), Value::from_json(&image));
            }
            let name = app.key.to_string();
            let topic = Topic { trigger: &row.trigger, app: &name };
            let templates = &compiled.notifications.rules.templates;
            let rendering =
                catalog::render(templates, &row.templates, &row.service, kind, &row.recipient, &facts, topic);
            let wanted: Vec<String> = facts.take_wanted().into_iter().filter(|id| !commits.contains_key(id)).collect();
            if wanted.is_empty() {
                let object = app.label();
                let texts = rendering.problems.into_iter().map(|p| p.in_object(object.clone())).collect();
                self.board.problems(&format!("notify text {}", app.key), texts);
                if rendering.fallback {
                    self.tally.fell_back(&row.service);
                }
                if !commits.is_empty() {
                    self.board.problems(&format!("commits for {}", app.key), problems);
                }
                return match rendering.failed {
                    Some(reason) => Err(Unrendered::Parked(reason)),
                    None => Ok(Rendered { message: rendering.message, keep: !rendering.secret }),
                };
            }
            for id in wanted {
                let found = self.commits.look_up(&app, &id).await;
                problems.extend(found.as_ref().err().map(|failure| commit_problem(&app, failure.text())));
                commits.insert(id, found.ok());
            }
        }
    }
}
