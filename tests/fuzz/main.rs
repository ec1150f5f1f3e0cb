//! The fuzz targets on a fixed number of inputs, mutated from the fixtures with a seed that is printed. `LYNCEUS_FUZZ=n`
//! takes n inputs for each target, `LYNCEUS_SEED=s` other ones. For hours of it: `make fuzz TARGET=… TIME=…`.

mod seeds;
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Bytes that mean something in one of the formats.
const WORDS: &[&str] = &[
    "{{",
    "}}",
    "{{-",
    "-}}",
    "{{end}}",
    "{{range ",
    "{{if ",
    "{{else}}",
    "{{define \"a\"}}",
    "{{template \"a\"}}",
    "| ",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "\"",
    "'",
    "`",
    "\\",
    "\\u0000",
    "\n",
    "\r\n",
    "\t",
    " ",
    "\0",
    ": ",
    "- ",
    "? ",
    "#",
    "&a ",
    "*a",
    "!!str ",
    "|\n  ",
    ">-\n",
    "---\n",
    "...\n",
    "<<: ",
    ",",
    ";",
    "=",
    "==",
    "?.",
    "??",
    "..",
    "**",
    "$",
    "$key",
    "@",
    "%",
    "%d",
    "%999999d",
    "-1",
    "0",
    "0x",
    "1e9",
    "9223372036854775807",
    "null",
    "nil",
    "true",
    "~",
    "é",
    "\u{0}",
    "\u{feff}",
    "\u{2028}",
    "👍",
    "a{1000}",
    "(a*)*",
    "not ",
    "in ",
    "let x = ",
    "any(",
    "#acc",
    "now()",
    "sha256:",
    ":latest",
    "@sha256:",
    "registry.example/",
    "v1.2.3-rc.1+b",
    "^1",
    ">=1 <2",
    "0000",
    "0004",
    "ffff",
    "001e# service",
];

fn mutated(random: &mut fastrand::Rng, seeds: &[Vec<u8>]) -> Vec<u8> {
    let pick = |random: &mut fastrand::Rng| seeds[random.usize(..seeds.len())].clone();
    let mut input = pick(random);
    for _ in 0..random.usize(0..5) {
        let at = random.usize(..=input.len());
        let end = (at + random.usize(..=12)).min(input.len());
        match random.usize(..8) {
            0 => drop(input.drain(at..end)),
            1 => {
                let span = input[at..end].to_vec();
                let copies = if random.usize(..20) == 0 { 300 } else { random.usize(1..4) };
                input.splice(at..at, span.repeat(copies));
            }
            2 | 3 => {
                let word = WORDS[random.usize(..WORDS.len())].as_bytes();
                let copies = if random.usize(..30) == 0 { 200 } else { 1 };
                input.splice(at..at, word.repeat(copies));
            }
            4 => {
                let other = pick(random);
                let from = random.usize(..=other.len());
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            5 if at < input.len() => input[at] = random.u8(..),
            6 if at < input.len() => input[at] ^= 1 << random.u8(..8),
            _ => {
                let other = pick(random);
                let from = random.usize(..=other.len());
                let to = (from + random.usize(..=40)).min(other.len());
                input.splice(at..at, other[from..to].iter().copied());
            }
        }
    }
    input.truncate(12 * 1024);
    input
}

/// Runs one target on mutations of its seeds; they themselves come first.
#[track_caller]
fn fuzz(name: &str, seeds: Vec<Vec<u8>>, count: usize) {
    let (_, target) = targets::TARGETS.iter().find(|(known, _)| *known == name).expect("a target");
    let number = |variable: &str| std::env::var(variable).ok().and_then(|n| n.parse::<u64>().ok());
    let seed = number("LYNCEUS_SEED").unwrap_or(20_260_501);
    let count = number("LYNCEUS_FUZZ").map_or(count, |n| n as usize);
    assert!(seeds.len() >= 5, "only {} seeds for {name}", seeds.len());
    println!("{name}: {count} inputs from {} seeds, LYNCEUS_SEED={seed}", seeds.len());
    let mut random = fastrand::Rng::with_seed(seed);
    for i in 0..count {
        let input = if i < seeds.len().min(count / 2) {
            seeds[i * seeds.len() / seeds.len().min(count / 2)].clone()
        } else {
            mutated(&mut random, &seeds)
        };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(&input))) {
            println!("{name}, input {i}: {:?}", String::from_utf8_lossy(&input));
            resume_unwind(panic);
        }
    }
}

/// The package for cargo-fuzz is compiled by nobody here: it is another package, with a library in C++. Its files are
/// compared with what they have to be: an entry for each target, and every crate that the targets use.
fn cargo_fuzz_has_all() {
    let read = |path: &str| {
        let path = format!("{}/{path}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
    };
    let manifest = read("tests/fuzz/Cargo.toml");
    let modules: Vec<String> = read("tests/fuzz/targets/mod.rs")
        .lines()
        .filter_map(|line| Some(line.strip_prefix("pub mod ")?.strip_suffix(';')?.to_owned()))
        .collect();
    let mut sources = read("tests/fuzz/targets/mod.rs");
    for (name, _) in targets::TARGETS {
        let module = modules.iter().find(|module| {
            read(&format!("tests/fuzz/targets/{module}.rs")).contains(&format!("pub fn {name}(input: &[u8])"))
        });
        let module = module.unwrap_or_else(|| panic!("{name} is in no module"));
        let wanted = format!(
            "//! cargo-fuzz's entry to `{module}::{name}`.\n#![no_main]\n\n#[allow(dead_code)]\n\
             #[path = \"../targets/mod.rs\"]\nmod targets;\n\n\
             libfuzzer_sys::fuzz_target!(|input: &[u8]| targets::{module}::{name}(input));\n"
        );
        assert_eq!(read(&format!("tests/fuzz/fuzz_targets/{name}.rs")), wanted);
        let entry = format!("[[bin]]\nname = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"\n");
        assert!(manifest.contains(&entry), "{entry}");
    }
    assert_eq!(manifest.matches("[[bin]]").count(), targets::TARGETS.len());
    modules.iter().for_each(|module| sources += &read(&format!("tests/fuzz/targets/{module}.rs")));
    let ours = read("Cargo.toml");
    let names = ours.lines().filter_map(|line| line.split_once(" = ")).map(|(name, _)| name);
    for name in names.filter(|name| name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))) {
        let used = sources
            .match_indices(&format!("{}::", name.replace('-', "_")))
            .any(|(at, _)| !sources[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':'));
        assert!(!used || manifest.contains(&format!("\n{name} = ")), "tests/fuzz/Cargo.toml lacks {name}");
    }
}

macro_rules! fuzzed {
    ($($test:ident: $name:literal, $seeds:expr, $count:literal;)*) => {
        $(
            #[test]
            fn $test() {
                fuzz($name, $seeds, $count);
            }
        )*

        #[test]
        fn every_target_is_run_here_and_under_cargo_fuzz() {
            let run = [$($name),*];
            for (name, _) in targets::TARGETS {
                assert!(run.contains(name), "{name} is not run");
            }
            assert_eq!(run.len(), targets::TARGETS.len());
            cargo_fuzz_has_all();
        }
    };
}

fuzzed! {
    fuzz_expr_parse: "expr_parse", seeds::expressions(), 8000;
    fuzz_expr_eval: "expr_eval", seeds::expressions(), 5000;
    fuzz_tpl_parse: "tpl_parse", seeds::templates(), 8000;
    fuzz_tpl_exec: "tpl_exec", seeds::templates(), 4000;
    fuzz_sprig: "sprig", seeds::texts(), 500;
    fuzz_json_interpolation: "json_interpolation", seeds::json_templates(), 4000;
    fuzz_config_map: "config_map", seeds::config_maps(), 3000;
    fuzz_subscriptions: "subscriptions", seeds::subscriptions(), 3000;
    fuzz_state_annotation: "state_annotation", seeds::states(), 4000;
    fuzz_application: "application", seeds::applications(), 2000;
    fuzz_secrets: "secrets", seeds::secrets(), 4000;
    fuzz_image_reference: "image_reference", seeds::references(), 4000;
    fuzz_tag_selection: "tag_selection", seeds::selections(), 4000;
    fuzz_image_annotations: "image_annotations", seeds::image_annotations(), 3000;
    fuzz_registries: "registries", seeds::registries(), 3000;
    fuzz_constraint: "constraint", seeds::constraints(), 4000;
    fuzz_writeback: "writeback", seeds::files(), 4500;
    fuzz_yaml_splice: "yaml_splice", seeds::scalars(), 4000;
    fuzz_override_file: "override_file", seeds::files_of("overrides"), 3000;
    fuzz_kustomization: "kustomization", seeds::files_of("kustomization"), 3000;
    fuzz_commit_template: "commit_template", seeds::commit_templates(), 3000;
    fuzz_branch_template: "branch_template", seeds::branch_templates(), 4000;
    fuzz_challenge: "challenge", seeds::challenges(), 6000;
    fuzz_manifest: "manifest", seeds::manifests(), 6000;
    fuzz_docker_config: "docker_config", seeds::docker_configs(), 4000;
    fuzz_credentials: "credentials", seeds::credentials(), 6000;
    fuzz_packets: "packets", seeds::packets(), 4000;
}
