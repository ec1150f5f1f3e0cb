//! Annotations of an Application become tracked images (image-updates.md §3, §4): every key, its precedence, and a
//! problem for each mistake. What concerns one image stops that image; what ANN-5 names stops the Application.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value as Json;

use super::annotation_keys::{self, OWN, UPSTREAM};
use super::credential_form::{self, CredentialForm};
use crate::core::application::Application;
use crate::core::image::{Glob, ImageRef, Platform, Selection, Strategy, TagFilter};
use crate::core::problem::Problem;
use crate::core::update::{
    AppSettings, BranchSetting, Discover, GitCredentials, Method, Refresh, TrackedImage, UnreadableItem,
};
use crate::core::writeback::Names;

/// Most images one Application may list (§25).
const MOST_IMAGES: usize = 1000;
/// Most bytes of annotations read (§25).
const MOST_BYTES: usize = 256 * 1024;

/// Application-wide extension settings below the annotations: `--default <key>=<value>`, keys without prefix (§4).
pub type Defaults = BTreeMap<String, String>;

/// What an Application's annotations ask for. `None` with no error among the problems: it has no image list and is
/// not managed. `None` with one: it is not managed until that is corrected (ANN-5).
pub fn settings(app: &Application) -> (Option<AppSettings>, Vec<Problem>) {
    settings_with(app, &Defaults::new())
}

/// The same over the daemon's defaults.
pub fn settings_with(app: &Application, defaults: &Defaults) -> (Option<AppSettings>, Vec<Problem>) {
    let mut reader = Reader { annotations: &app.annotations, defaults, problems: Vec::new(), stopped: false };
    let settings = reader.read();
    let label = app.label();
    let problems = reader.problems.into_iter().map(|p| p.in_object(&label)).collect();
    let settings = settings.map(|mut settings| {
        for image in settings.images.iter_mut().map(Arc::make_mut) {
            image.unusable = image.unusable.take().map(|p| p.in_object(&label));
        }
        for item in &mut settings.unreadable {
            item.problem = item.problem.clone().in_object(&label);
        }
        settings
    });
    (settings, problems)
}

/// Image annotations on an object that nobody reads them from: on itself, or on the pods it makes (SRC-11). `None` for
/// Applications, for templates of ApplicationSets, and for everything without such annotations.
pub fn misplaced(document: &Json) -> Option<Problem> {
    let kind = document["kind"].as_str().filter(|kind| !matches!(*kind, "Application" | "AppProject" | "List"))?;
    let spec = &document["spec"];
    let places = match kind {
        "ApplicationSet" => vec![&document["metadata"]],
        _ => vec![
            &document["metadata"],
            &spec["template"]["metadata"],
            &spec["jobTemplate"]["metadata"],
            &spec["jobTemplate"]["spec"]["template"]["metadata"],
        ],
    };
    let annotations = places.iter().filter_map(|place| place["annotations"].as_object());
    let mut keys = annotations.flat_map(|annotations| annotations.keys()).filter(|key| key.starts_with(UPSTREAM));
    let first = keys.next()?;
    let name = document["metadata"]["name"].as_str().unwrap_or_default();
    let count = 1 + keys.count();
    let text = format!("image annotations of {kind} {name} are not looked at: {count} without effect");
    let hint = match kind {
        "ApplicationSet" => "put them below spec.template.metadata.annotations",
        _ => "put them on the Application whose source holds this file",
    };
    Some(Problem::warning("annotation-on-wrong-object", text).at_key(first.as_str()).hint(hint))
}

/// What is wrong with defaults whatever the Application: keys that do not exist application-wide. Their values are read
/// with each Application, and fail closed there.
pub fn unusable_defaults(defaults: &Defaults) -> Vec<Problem> {
    let keys: Vec<String> = defaults.keys().map(|key| format!("{OWN}{key}")).collect();
    annotation_keys::unknown(keys.iter(), &[])
}

struct Reader<'a> {
    annotations: &'a BTreeMap<String, String>,
    defaults: &'a Defaults,
    problems: Vec<Problem>,
    /// Something of ANN-5 was found.
    stopped: bool,
}

/// A value and the full key it stands under.
struct Found<'a> {
    key: String,
    text: &'a str,
}

impl<'a> Reader<'a> {
    fn read(&mut self) -> Option<AppSettings> {
        let list = self.upstream("image-list")?;
        let bytes: usize = self.annotations.iter().map(|(k, v)| k.len() + v.len()).sum();
        if bytes > MOST_BYTES {
            self.stop(&list.key, format!("the annotations have {bytes} bytes, at most {MOST_BYTES} are read"), "");
            return None;
        }
        let (items, unreadable) = self.image_list(&list);
        let aliases: Vec<String> = items.iter().filter_map(|i| i.alias.as_deref().map(key_part)).collect();
        self.problems.extend(annotation_keys::unknown(self.annotations.keys(), &aliases));
        self.app_wide_later_keys();
        let images = items.into_iter().map(|item| Arc::new(self.image(item))).collect();
        let method = self.method();
        let git_branch = self.branch();
        let settings = AppSettings {
            images,
            unreadable,
            method,
            write_back_target: self.upstream("write-back-target").map(|f| f.text.to_owned()).unwrap_or_default(),
            git_branch,
            git_repository: self.upstream("git-repository").map(|f| f.text.to_owned()),
            refresh: self.refresh(),
        };
        (!self.stopped).then_some(settings)
    }

    fn image_list(&mut self, list: &Found<'_>) -> (Vec<ImageRef>, Vec<UnreadableItem>) {
        let (mut images, mut unreadable): (Vec<ImageRef>, Vec<UnreadableItem>) = (Vec::new(), Vec::new());
        for text in list.text.split(',').map(str::trim).filter(|t| !t.is_empty()) {
            match ImageRef::parse(text) {
                Ok(image) if image.alias.is_some() && images.iter().any(|i| i.alias == image.alias) => {
                    self.stop(&list.key, format!("the alias {:?} is given twice", image.alias_text()), "");
                }
                Ok(image) => images.push(image),
                Err(problem) => {
                    let problem = problem.at_key(&list.key);
                    self.problems.push(problem.clone());
                    // An item without reference stops the Application (ANN-5), any other mistake only its image.
                    self.stopped |= problem.code == "config-invalid";
                    unreadable.push(UnreadableItem { text: text.to_owned(), problem });
                }
            }
        }
        if images.is_empty() && unreadable.is_empty() {
            self.stop(&list.key, "the image list names no image", "write alias=registry/name:constraint");
        }
        if images.len() > MOST_IMAGES {
            self.stop(&list.key, format!("{} images are listed, at most {MOST_IMAGES} are managed", images.len()), "");
        }
        (images, unreadable)
    }

    fn image(&mut self, image: ImageRef) -> TrackedImage {
        let alias = image.alias.clone();
        let alias = alias.as_deref();
        let mut unusable = None;
        let strategy = self.strategy(alias);
        let reference = ImageRef { alias: None, ..image.clone() }.to_string();
        let (mut selection, problem) = Selection::new(strategy, image.tag.as_deref(), &reference);
        if let Some(problem) = problem {
            let problem = problem.at_key(format!("{UPSTREAM}image-list"));
            self.problems.push(problem.clone());
            unusable = Some(problem);
        }
        self.warn_of_word_on_wildcard(&selection, alias);
        unusable = unusable.or(self.allow_tags(alias, &mut selection));
        self.ignore_tags(alias, &mut selection);
        unusable = unusable.or(self.platforms(alias, &mut selection));
        let pull_secret = self.image_key(alias, "pull-secret");
        if let Some(found) = &pull_secret
            && let Err(problem) = CredentialForm::parse(found.text)
        {
            let problem = problem.at_key(&found.key);
            self.tell(&found.key, problem.clone());
            unusable = unusable.or(Some(problem));
        }
        let force_update = self.upstream_bool(alias, "force-update");
        let names = self.names(alias);
        let (discover, bad_discover) = self.discover(alias);
        let (allow_downgrade, bad_downgrade) = self.own_bool(alias, "allow-downgrade");
        let later = self.later_keys(alias);
        unusable = unusable.or(bad_discover).or(bad_downgrade).or(later);
        TrackedImage {
            pull_secret: pull_secret.map(|f| f.text.to_owned()),
            source: self.own(alias, "source").map(|f| f.text.to_owned()),
            image,
            selection,
            force_update,
            names,
            discover,
            allow_downgrade,
            unusable,
        }
    }

    fn strategy(&mut self, alias: Option<&str>) -> Strategy {
        let Some(found) = self.image_key(alias, "update-strategy") else { return Strategy::SemVer };
        match Strategy::parse(found.text) {
            Some((strategy, false)) => strategy,
            Some((strategy, true)) => {
                let problem = Problem::warning("config-invalid", format!("{:?} is an old name", found.text))
                    .hint(format!("write {}", strategy.word()));
                self.tell(&found.key, problem);
                strategy
            }
            None => {
                let text = format!("unknown update strategy {:?}: semver is used", found.text);
                let problem = Problem::warning("config-invalid", text)
                    .hint("strategies are semver, newest-build, alphabetical and digest");
                self.tell(&found.key, problem);
                Strategy::SemVer
            }
        }
    }

    fn warn_of_word_on_wildcard(&mut self, selection: &Selection, alias: Option<&str>) {
        let Some(word) = selection.constraint().and_then(|c| c.word_on_wildcard()) else { return };
        let text = format!(
            "a wildcard with -{word} means any version and every pre-release from 0.0.0-{word} up, not tags that end \
             in -{word}"
        );
        let key = alias.map(|a| format!("{}.allow-tags", key_part(a))).unwrap_or_else(|| "allow-tags".to_owned());
        let problem = Problem::warning("config-invalid", text)
            .at_key(format!("{UPSTREAM}image-list"))
            .hint(format!("to keep only such tags, add {UPSTREAM}{key}: regexp:-{word}$"));
        self.problems.push(problem);
    }

    fn allow_tags(&mut self, alias: Option<&str>, selection: &mut Selection) -> Option<Problem> {
        let found = match self.image_key(alias, "allow-tags") {
            Some(found) => found,
            None => {
                let old = self.upstream(&format!("{}.tag-match", key_part(alias?)))?;
                let problem = Problem::warning("config-invalid", "tag-match is an old name").hint("write allow-tags");
                self.tell(&old.key, problem);
                old
            }
        };
        let (filter, problem) = TagFilter::parse(found.text);
        selection.allow = filter;
        let problem = problem?.at_key(&found.key);
        self.tell(&found.key, problem.clone());
        Some(problem)
    }

    fn ignore_tags(&mut self, alias: Option<&str>, selection: &mut Selection) {
        // Present but empty at the alias clears the application-wide list (ANN-1).
        let of_alias = alias.and_then(|alias| {
            let key = format!("{UPSTREAM}{}.ignore-tags", key_part(alias));
            self.annotations.get(&key).map(|text| Found { key, text: text.trim() })
        });
        let Some(found) = of_alias.or_else(|| self.upstream("ignore-tags")) else { return };
        for item in items(found.text) {
            let regular = item.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("regexp:"));
            let glob = Glob::parse(item);
            if regular {
                let text = format!("{item:?}: ignore-tags takes globs; use allow-tags for a regular expression");
                self.tell(&found.key, Problem::error("ignore-tags-invalid", text));
            } else if glob.is_none() {
                let text = format!("the pattern {item:?} is malformed and matches no tag");
                self.tell(&found.key, Problem::error("ignore-tags-invalid", text));
            }
            selection.ignore.extend(glob);
        }
    }

    fn platforms(&mut self, alias: Option<&str>, selection: &mut Selection) -> Option<Problem> {
        let of_alias = alias.and_then(|a| self.upstream(&format!("{}.platforms", key_part(a))));
        let found = of_alias.or_else(|| self.own(None, "platforms"))?;
        let mut bad = None;
        let mut platforms = Vec::new();
        for item in items(found.text) {
            match Platform::parse(item) {
                Some(platform) => platforms.push(platform),
                None => {
                    let problem = Problem::error("config-invalid", format!("{item:?} is no platform"))
                        .hint("write os/arch or os/arch/variant")
                        .at_key(&found.key);
                    self.tell(&found.key, problem.clone());
                    bad = bad.or(Some(problem));
                }
            }
        }
        selection.platforms = platforms;
        bad.filter(|_| selection.platforms.is_empty())
    }

    fn names(&mut self, alias: Option<&str>) -> Names {
        let text = |key: &str| {
            self.upstream(&format!("{}.{key}", key_part(alias?))).map(|found: Found<'_>| found.text.to_owned())
        };
        let helm_name = text("helm.image-name");
        let helm_tag = text("helm.image-tag");
        let helm_spec = text("helm.image-spec");
        let kustomize_name = text("kustomize.image-name");
        if kustomize_name.is_some() && (helm_name.is_some() || helm_tag.is_some() || helm_spec.is_some()) {
            let alias = alias.unwrap_or_default();
            let key = format!("{UPSTREAM}{}.kustomize.image-name", key_part(alias));
            self.stop(&key, format!("{alias:?} has helm.* and kustomize.* settings at once"), "keep one kind");
        }
        Names {
            helm_name_explicit: helm_name.is_some(),
            helm_name: helm_name.unwrap_or_else(|| "image.name".to_owned()),
            helm_tag: helm_tag.unwrap_or_else(|| "image.tag".to_owned()),
            helm_spec,
            kustomize_name,
        }
    }

    fn upstream_bool(&mut self, alias: Option<&str>, key: &str) -> bool {
        let Some(found) = self.image_key(alias, key) else { return false };
        parse_bool(found.text).unwrap_or_else(|| {
            self.stop(&found.key, format!("{:?} is no boolean", found.text), "write true or false");
            false
        })
    }

    fn own_bool(&mut self, alias: Option<&str>, key: &str) -> (bool, Option<Problem>) {
        let Some(found) = self.own(alias, key) else { return (false, None) };
        match parse_bool(found.text) {
            Some(value) => (value, None),
            None => (false, Some(self.unreadable(&found, "write true or false"))),
        }
    }

    fn discover(&mut self, alias: Option<&str>) -> (Option<Discover>, Option<Problem>) {
        let Some(found) = self.own(alias, "discover") else { return (None, None) };
        match found.text {
            "live" => (Some(Discover::Live), None),
            "desired" => (Some(Discover::Desired), None),
            "both" => (Some(Discover::Both), None),
            _ => (None, Some(self.unreadable(&found, "write live, desired or both"))),
        }
    }

    fn refresh(&mut self) -> Refresh {
        let Some(found) = self.own(None, "refresh") else { return Refresh::Normal };
        match found.text {
            "normal" => Refresh::Normal,
            "hard" => Refresh::Hard,
            "off" => Refresh::Off,
            _ => {
                self.unreadable(&found, "write normal, hard or off");
                self.stopped = true;
                Refresh::Off
            }
        }
    }

    fn method(&mut self) -> Method {
        let Some(found) = self.upstream("write-back-method") else { return Method::Argocd };
        const FORMS: &str = "write argocd, git, git:repocreds or git:secret:[<namespace>/]<name>";
        match found.text {
            "argocd" => return Method::Argocd,
            "git" | "git:repocreds" => return Method::Git(GitCredentials::Repocreds),
            _ => {}
        }
        let Some(secret) = found.text.strip_prefix("git:secret:") else {
            self.stop(&found.key, format!("unknown method {:?}", found.text), FORMS);
            return Method::Argocd;
        };
        let (namespace, name) = match secret.split_once('/') {
            Some((namespace, name)) => (Some(namespace), name),
            None => (None, secret),
        };
        if !credential_form::is_object_name(name) || !namespace.is_none_or(credential_form::is_object_name) {
            self.stop(&found.key, format!("{secret:?} is no name of a Secret"), FORMS);
        }
        Method::Git(GitCredentials::Secret { namespace: namespace.map(str::to_owned), name: name.to_owned() })
    }

    fn branch(&mut self) -> Option<BranchSetting> {
        let found = self.upstream("git-branch")?;
        match BranchSetting::parse(found.text) {
            Ok(setting) => Some(setting),
            Err(problem) => {
                self.tell(&found.key, problem);
                self.stopped = true;
                None
            }
        }
    }

    /// Settings of later stages, for one image: a guard that would not be kept must not be passed over.
    fn later_keys(&mut self, alias: Option<&str>) -> Option<Problem> {
        let mut stop = None;
        for key in annotation_keys::later().filter(|key| key.image) {
            let Some(found) = self.own(alias, key.name) else { continue };
            let Some(problem) = key.problem(found.text) else { continue };
            self.tell(&found.key, problem.clone());
            if key.blocks {
                stop = stop.or(Some(problem.at_key(&found.key)));
            }
        }
        stop
    }

    fn app_wide_later_keys(&mut self) {
        for key in annotation_keys::later().filter(|key| !key.image) {
            let Some(found) = self.own(None, key.name) else { continue };
            let Some(problem) = key.problem(found.text) else { continue };
            self.tell(&found.key, problem);
            self.stopped |= key.blocks;
        }
    }

    /// An application-wide upstream key.
    fn upstream(&self, key: &str) -> Option<Found<'a>> {
        self.annotation(format!("{UPSTREAM}{key}"))
    }

    /// An upstream key of an image: alias, else application (ANN-2).
    fn image_key(&self, alias: Option<&str>, key: &str) -> Option<Found<'a>> {
        alias.and_then(|alias| self.upstream(&format!("{}.{key}", key_part(alias)))).or_else(|| self.upstream(key))
    }

    /// An extension key: alias, else application, else the daemon's default (§4).
    fn own(&self, alias: Option<&str>, key: &str) -> Option<Found<'a>> {
        alias
            .and_then(|alias| self.annotation(format!("{OWN}{}.{key}", key_part(alias))))
            .or_else(|| self.annotation(format!("{OWN}{key}")))
            .or_else(|| {
                let text = self.defaults.get(key)?.trim();
                (!text.is_empty()).then(|| Found { key: format!("--default {key}"), text })
            })
    }

    /// Trimmed; empty counts as absent (ANN-1).
    fn annotation(&self, key: String) -> Option<Found<'a>> {
        let text = self.annotations.get(&key)?.trim();
        (!text.is_empty()).then_some(Found { key, text })
    }

    fn unreadable(&mut self, found: &Found<'_>, hint: &str) -> Problem {
        let problem = Problem::error("config-invalid", format!("{:?} cannot be understood", found.text))
            .at_key(&found.key)
            .hint(hint);
        self.tell(&found.key, problem.clone());
        problem
    }

    fn stop(&mut self, key: &str, text: impl Into<String>, hint: &str) {
        self.stopped = true;
        self.tell(key, Problem::error("config-invalid", text).hint(hint));
    }

    /// Tells a problem of a key's value, once however many images share it.
    fn tell(&mut self, key: &str, problem: Problem) {
        let problem = problem.at_key(key);
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }
}

/// An alias as it stands in annotation keys, which allow one slash only (ANN-3).
fn key_part(alias: &str) -> String {
    alias.replace('/', "_")
}

fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
