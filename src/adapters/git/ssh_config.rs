//! The few words of an ssh client configuration that matter here: `Host`, `HostName`, `User`, `Port`,
//! `IdentityFile` (GIT-4). The first value found for a host wins, as in OpenSSH.

use super::known_hosts::matches_any;
use crate::core::problem::Problem;

/// A read configuration file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SshConfig {
    blocks: Vec<Block>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Block {
    patterns: Vec<String>,
    values: HostSettings,
}

/// What the file says for one host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostSettings {
    /// `HostName`, `%h` replaced.
    pub host_name: Option<String>,
    /// `User`.
    pub user: Option<String>,
    /// `Port`.
    pub port: Option<u16>,
    /// `IdentityFile`s in order.
    pub identity_files: Vec<String>,
}

impl SshConfig {
    /// Reads the text; problems name what has no effect.
    pub fn parse(text: &str) -> (SshConfig, Vec<Problem>) {
        let mut config = SshConfig { blocks: vec![Block { patterns: vec!["*".into()], ..Block::default() }] };
        let mut problems = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let at = u32::try_from(number + 1).unwrap_or(u32::MAX);
            let (word, rest) = split(line);
            if let Some(problem) = config.take(&word.to_ascii_lowercase(), rest) {
                problems.push(problem.in_object("ssh configuration").at_key(word).at(at, 1));
            }
        }
        (config, problems)
    }

    fn take(&mut self, word: &str, rest: &str) -> Option<Problem> {
        let words: Vec<&str> = rest.split_ascii_whitespace().map(|w| w.trim_matches('"')).collect();
        match word {
            "host" => {
                let patterns = words.iter().map(|w| w.to_ascii_lowercase()).collect();
                self.blocks.push(Block { patterns, ..Block::default() });
                return None;
            }
            "match" => {
                self.blocks.push(Block::default());
                return Some(Problem::warning(
                    "config-invalid",
                    "Match blocks are not read; their lines have no effect",
                ));
            }
            _ => {}
        }
        let values = &mut self.blocks.last_mut()?.values;
        let Some(value) = words.first().map(|w| (*w).to_owned()) else {
            return Some(Problem::warning("config-invalid", "no value"));
        };
        match word {
            "hostname" => values.host_name.get_or_insert(value),
            "user" => values.user.get_or_insert(value),
            "identityfile" => {
                values.identity_files.push(value);
                return None;
            }
            "port" => match value.parse() {
                Ok(port) => {
                    values.port.get_or_insert(port);
                    return None;
                }
                Err(_) => return Some(Problem::error("config-invalid", format!("{value:?} is no port"))),
            },
            "stricthostkeychecking" if value.eq_ignore_ascii_case("yes") => return None,
            "stricthostkeychecking" => {
                let text = "has no effect: host keys are always checked";
                let hint = "add the host's key to ssh_known_hosts";
                return Some(Problem::warning("config-invalid", text).hint(hint));
            }
            "hostkeyalgorithms"
            | "pubkeyacceptedalgorithms"
            | "pubkeyacceptedkeytypes"
            | "kexalgorithms"
            | "proxycommand"
            | "proxyjump"
            | "include" => {
                return Some(Problem::warning("config-invalid", "is not effective"));
            }
            _ => return None,
        };
        None
    }

    /// What holds for `host`.
    pub fn host(&self, host: &str) -> HostSettings {
        let lower = host.to_ascii_lowercase();
        let mut found = HostSettings::default();
        for block in self.blocks.iter().filter(|block| matches_any(&block.patterns, &lower)) {
            let values = &block.values;
            found.host_name = found.host_name.or_else(|| values.host_name.as_ref().map(|n| n.replace("%h", host)));
            found.user = found.user.or_else(|| values.user.clone());
            found.port = found.port.or(values.port);
            found.identity_files.extend(values.identity_files.iter().cloned());
        }
        found
    }
}

/// `Word value`, `Word=value`, `Word = value`.
fn split(line: &str) -> (&str, &str) {
    let end = line.find(|c: char| c.is_ascii_whitespace() || c == '=').unwrap_or(line.len());
    let (word, rest) = line.split_at(end);
    let rest = rest.trim_start();
    (word, rest.strip_prefix('=').unwrap_or(rest).trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "
        # before the first Host: for all
        User everybody
        Host git.example *.corp.example !bad.corp.example
          HostName ssh.%h
          Port=7999
          IdentityFile \"/app/.ssh/one\"
          IdentityFile /app/.ssh/two
          StrictHostKeyChecking no
        Match host x
          User nobody
        Host *
          Port 2200
          KexAlgorithms +diffie-hellman-group1-sha1
          Port many
    ";

    #[test]
    fn git_4_the_first_value_for_a_host_wins() {
        let (config, problems) = SshConfig::parse(TEXT);
        let git = config.host("git.example");
        assert_eq!(git.host_name.as_deref(), Some("ssh.git.example"));
        assert_eq!((git.user.as_deref(), git.port), (Some("everybody"), Some(7999)));
        assert_eq!(git.identity_files, ["/app/.ssh/one", "/app/.ssh/two"]);
        assert_eq!(config.host("a.corp.example").port, Some(7999));
        assert_eq!(config.host("bad.corp.example").port, Some(2200));
        assert_eq!(config.host("bad.corp.example").host_name, None);
        let keys: Vec<(&str, Option<u32>)> = problems.iter().map(|p| (p.key.as_str(), p.line)).collect();
        assert_eq!(
            keys,
            [("StrictHostKeyChecking", Some(9)), ("Match", Some(10)), ("KexAlgorithms", Some(14)), ("Port", Some(15))]
        );
    }
}
