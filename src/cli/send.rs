//! `notify template send`: renders and sends at once, outside the outbox: one attempt, nothing is remembered.

use clap::Args;
use jiff::Timestamp;
use serde_json::json;

use super::notify::{self, Output, Source};
use super::template::{mask, unknown};
use super::trigger::print_structured;
use super::{Paint, fail, world};
use crate::adapters::services::{SendContext, SendError, Service};
use crate::core::notify::catalog::{self, Topic};
use crate::core::notify::message::Message;

/// Arguments of `template send`.
#[derive(Debug, Args)]
pub struct SendArgs {
    /// The templates, in order, then the Application (a file, or its name in the cluster).
    #[arg(required = true, num_args = 2.., value_names = ["TEMPLATE", "APPLICATION"])]
    pub names: Vec<String>,
    /// Send to this destination: service:recipient; repeatable.
    #[arg(long, required = true, value_name = "DESTINATION")]
    pub recipient: Vec<String>,
    /// Render for this image event: a file with the fields of `image`, JSON or YAML.
    #[arg(long, value_name = "FILE")]
    pub image_event: Option<String>,
    #[command(flatten)]
    source: Source,
}

/// Runs `template send`.
pub fn run(args: &SendArgs) -> u8 {
    let Some((application, names)) = args.names.split_last() else { return super::USAGE };
    let read = || {
        let image = notify::image_event(&args.image_event)?;
        Ok::<_, super::files::Unreadable>((args.source.compiled()?, args.source.application(application)?, image))
    };
    let (compiled, app, image) = match read() {
        Ok(read) => read,
        Err(error) => return fail(error.status, error.text),
    };
    let rules = &compiled.notifications.rules;
    if let Some(name) = names.iter().find(|name| !rules.templates.contains_key(*name)) {
        return unknown(name, &compiled);
    }
    let destinations: Vec<(&str, &str)> =
        args.recipient.iter().map(|to| to.split_once(':').unwrap_or((to, ""))).collect();
    for (service, recipient) in &destinations {
        if !compiled.notifications.services.contains_key(*service) {
            return fail(4, compiled.notifications.undefined_service(service, recipient));
        }
    }
    let runtime = match super::runtime() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, error),
    };
    let http = world::http();
    let name = app.key.to_string();
    let topic = Topic { trigger: "manual", app: &name };
    let (mut results, mut status) = (Vec::new(), 0);
    for (service, recipient) in destinations {
        let mut facts = notify::facts(&app, &compiled);
        facts.image = image.clone();
        let (config, kind) = (&compiled.notifications.services[service], rules.services[service]);
        let rendering = catalog::render(&rules.templates, names, service, kind, recipient, &facts, topic);
        for error in &rendering.errors {
            eprintln!("lynceus: {} ({}): {}", error.field, error.phase, mask(&error.text));
        }
        let sent = match rendering.failed {
            Some(reason) => Err(format!("not rendered: {}", mask(&reason))),
            None => {
                let service = Service::new(config.clone(), http.clone());
                runtime.block_on(send(&service, recipient, &rendering.message, topic)).map_err(|error| error.text)
            }
        };
        status |= u8::from(sent.is_err() || !rendering.errors.is_empty());
        results.push((format!("{service}:{recipient}"), sent));
    }
    print(&results, args.source.output);
    status
}

/// Every call that the message takes; each is made once.
async fn send(service: &Service, recipient: &str, message: &Message, topic: Topic<'_>) -> Result<String, SendError> {
    let mut context = SendContext {
        event_id: format!("evt_manual{:016x}", fastrand::u64(..)),
        attempt: 1,
        possible_repeat: false,
        delayed: None,
        default_text: format!("Trigger {} fired for {}", topic.trigger, topic.app),
        thread: None,
        steps: Vec::new(),
        now: Timestamp::now(),
    };
    loop {
        let sent = service.send(recipient, message, &context).await?;
        match sent.more_after {
            Some(step) => context.steps.push(step.to_owned()),
            None => return Ok(sent.note),
        }
    }
}

fn print(results: &[(String, Result<String, String>)], output: Output) {
    let paint = Paint::stdout();
    match output {
        Output::Json | Output::Yaml => {
            let list: Vec<_> = results
                .iter()
                .map(|(to, sent)| {
                    json!({"recipient": to, "sent": sent.is_ok(), "note": sent.as_ref().ok().filter(|n| !n.is_empty()),
                        "error": sent.as_ref().err()})
                })
                .collect();
            print_structured(output, &json!(list));
        }
        Output::Name | Output::Wide => {
            for (to, sent) in results {
                match sent {
                    Ok(note) if note.is_empty() => println!("{} {to}", paint.green("sent")),
                    Ok(note) => println!("{} {to}  {note}", paint.green("sent")),
                    Err(error) => println!("{} {to}  {error}", paint.red("failed")),
                }
            }
        }
    }
}
