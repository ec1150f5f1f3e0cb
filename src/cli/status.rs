//! `status`: what a running daemon's `/status` says, for a terminal or as it came (image-updates.md §23).

use std::time::Duration;

use clap::Args;
use serde_json::Value as Json;

use super::{Output, Paint, USAGE, fail};

/// Where the daemon's probes are, unless it was told otherwise.
const DAEMON: &str = "http://127.0.0.1:8081";

/// The daemon answers at once or not at all.
const PATIENCE: Duration = Duration::from_secs(5);

/// Arguments of `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// The daemon's probe address.
    #[arg(long, default_value = DAEMON, value_name = "URL")]
    pub daemon: String,
    /// How the status is printed.
    #[arg(long, short = 'o', value_enum, default_value_t)]
    pub output: Output,
}

/// Runs `status`.
pub fn run(args: &StatusArgs) -> u8 {
    let Some(url) = address(&args.daemon) else {
        return fail(USAGE, format!("--daemon {}: write an address as {DAEMON}", args.daemon));
    };
    let runtime = match super::runtime() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, error),
    };
    let status = match runtime.block_on(ask(&url)) {
        Ok(status) => status,
        Err(text) => return fail(1, format!("{url}: {text} (does the daemon run there?)")),
    };
    match args.output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&status).unwrap_or_default()),
        Output::Text => print!("{}", text(&status, Paint::stdout())),
    }
    let ready = status["notReady"].as_array().is_some_and(Vec::is_empty) && status["stuck"].is_null();
    u8::from(!ready)
}

/// The status of the daemon at this address.
///
/// # Errors
/// Why there is none, for a person.
pub async fn of(daemon: &str) -> Result<Json, String> {
    let url = address(daemon).ok_or_else(|| format!("--daemon {daemon}: write an address as {DAEMON}"))?;
    ask(&url).await.map_err(|text| format!("{url}: {text}"))
}

/// The address of `/status` below a daemon's; the scheme may be left out.
fn address(daemon: &str) -> Option<url::Url> {
    let text = if daemon.contains("://") { daemon.to_owned() } else { format!("http://{daemon}") };
    let url = url::Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())?;
    url.join("/status").ok()
}

/// Asks a daemon for its status.
///
/// # Errors
/// Why there is none, for a person.
async fn ask(url: &url::Url) -> Result<Json, String> {
    // The daemon's own address needs no proxy, and no secret is sent.
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().map_err(|e| e.to_string())?;
    let answer = client.get(url.clone()).send().await.map_err(|error| {
        let mut text = error.without_url().to_string();
        if text.contains("error sending request") {
            "nothing answers".clone_into(&mut text);
        }
        text
    })?;
    let code = answer.status();
    if !code.is_success() {
        return Err(format!("answers {code}"));
    }
    let body = answer.bytes().await.map_err(|e| e.without_url().to_string())?;
    serde_json::from_slice(&body).map_err(|_| "is no status of this daemon".to_owned())
}

fn text(status: &Json, paint: Paint) -> String {
    let number = |value: &Json| value.as_u64().unwrap_or(0);
    let word = |value: &Json| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Json| value.as_array().cloned().unwrap_or_default();
    let counts = |value: &Json| {
        let each = value.as_object().into_iter().flatten().filter(|(_, count)| number(count) > 0);
        each.map(|(name, count)| format!("{} {name}", number(count))).collect::<Vec<_>>().join(", ")
    };
    let mut lines = Vec::new();
    let missing: Vec<String> = list(&status["notReady"]).iter().map(&word).collect();
    lines.push(match (status["stuck"].as_str(), missing.is_empty()) {
        (Some(stage), _) => paint.red(&format!("stuck: {stage}")),
        (None, true) => paint.green("ready"),
        (None, false) => paint.yellow(&format!("not ready: {}", missing.join(", "))),
    });
    if let Some(leader) = status.get("leader").filter(|leader| !leader.is_null()) {
        lines.push(match word(&leader["role"]).as_str() {
            "leader" => format!("images are written here (Lease {})", word(&leader["lease"])),
            "alone" => format!("images are written here, without the Lease {}", word(&leader["lease"])),
            _ if word(&leader["holder"]).is_empty() => format!("nobody holds the Lease {} yet", word(&leader["lease"])),
            _ => format!("standby: {} writes images (Lease {})", word(&leader["holder"]), word(&leader["lease"])),
        });
    }
    let applications = &status["applications"];
    lines.push(format!(
        "{} applications governed, {} watched; {} rounds",
        number(&applications["governed"]),
        number(&applications["watched"]),
        number(&status["rounds"])
    ));
    let states = counts(&status["images"]["byState"]);
    let colon = if states.is_empty() { "" } else { ": " };
    lines.push(format!("{} images{colon}{states}", number(&status["images"]["total"])));
    let outbox = counts(&status["outbox"]);
    lines.push(format!("outbox: {}", if outbox.is_empty() { "empty" } else { &outbox }));
    section(&mut lines, paint, "problems", &list(&status["problems"]), |problem| {
        let severity = match word(&problem["severity"]).as_str() {
            "error" => paint.red("error  "),
            "warning" => paint.yellow("warning"),
            _ => paint.dim("info   "),
        };
        let place = [word(&problem["object"]), word(&problem["key"])];
        let place: Vec<String> = place.into_iter().filter(|part| !part.is_empty()).map(|part| part + ": ").collect();
        let hint = word(&problem["hint"]);
        let hint = if hint.is_empty() { hint } else { format!(" ({hint})") };
        format!("{severity} {} {}{}{hint}", paint.dim(&word(&problem["code"])), place.concat(), word(&problem["text"]))
    });
    section(&mut lines, paint, "last pushes", &list(&status["pushes"]), |push| {
        let commit: String = word(&push["commit"]).chars().take(9).collect();
        let applications = number(&push["applications"]);
        format!(
            "{}  {} {} {commit}  {applications} changes",
            paint.dim(&word(&push["at"])),
            word(&push["remote"]),
            word(&push["branch"])
        )
    });
    section(&mut lines, paint, "next rounds", &list(&status["nextRounds"]), |next| {
        format!("{}  {}", paint.dim(&word(&next["at"])), word(&next["remote"]))
    });
    lines.join("\n") + "\n"
}

fn section(lines: &mut Vec<String>, paint: Paint, title: &str, items: &[Json], line: impl Fn(&Json) -> String) {
    if items.is_empty() {
        return;
    }
    lines.push(paint.bold(title));
    lines.extend(items.iter().map(|item| format!("  {}", line(item))));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn section_23_a_daemons_address() {
        for (text, url) in [
            ("http://127.0.0.1:8081", Some("http://127.0.0.1:8081/status")),
            ("127.0.0.1:8081", Some("http://127.0.0.1:8081/status")),
            ("lynceus:8081/", Some("http://lynceus:8081/status")),
            ("https://h/x", Some("https://h/status")),
            ("ftp://h", None),
            ("", None),
            ("http://", None),
        ] {
            assert_eq!(address(text).map(String::from).as_deref(), url, "{text}");
        }
    }
}
