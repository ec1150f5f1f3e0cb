//! What inputs are mutated from: the fixtures of the other tests, and one of each form where there are none.

use std::fs;

fn fixture(path: &str) -> String {
    let root = env!("CARGO_MANIFEST_DIR");
    fs::read_to_string(format!("{root}/tests/fixtures/{path}")).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Every so many-th value of a key in files of JSON lines.
fn column(folder: &str, key: &str, every: usize) -> Vec<Vec<u8>> {
    let root = env!("CARGO_MANIFEST_DIR");
    let mut names: Vec<_> = fs::read_dir(format!("{root}/tests/fixtures/{folder}"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "jsonl"))
        .collect();
    names.sort();
    let mut found = Vec::new();
    for name in names {
        for line in fs::read_to_string(name).expect("a fixture").lines().step_by(every) {
            let row: serde_json::Value = serde_json::from_str(line).expect("a row");
            found.push(row[key].as_str().expect("a text").as_bytes().to_vec());
        }
    }
    found
}

fn all(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

pub fn expressions() -> Vec<Vec<u8>> {
    let mut found = column("expr", "expr", 5);
    for (i, input) in found.iter_mut().enumerate().filter(|(i, _)| i % 3 == 0) {
        input.extend_from_slice(format!("\0a{i}\0b c").as_bytes());
    }
    found
}

pub fn templates() -> Vec<Vec<u8>> {
    let mut found = column("template", "template", 9);
    for (i, input) in found.iter_mut().enumerate().filter(|(i, _)| i % 3 == 0) {
        input.extend_from_slice(format!("\0a{i}\0{{\"x\": [1, \"é\"]}}").as_bytes());
    }
    found
}

pub fn texts() -> Vec<Vec<u8>> {
    let names = "abbrev camelcase chunk date dig index printf regexFind semver slice splitn substr trunc untilStep urlParse wrap";
    let texts = [
        "",
        "a",
        " a b ",
        "é日本",
        "a,b,,c",
        "-12",
        "1.5e3",
        "{\"a\": [1]}",
        "%d %s",
        "[a-z]+(b)?",
        "https://u@h:1/p?q#f",
        "1.2.3-rc.1",
        "2006-01-02",
        "x\ny",
        "\\u00e9\"",
    ];
    let mut found = Vec::new();
    for a in texts {
        for b in texts {
            found.push(format!("{a}\0{b}\0{names}").into_bytes());
        }
    }
    found
}

pub fn json_templates() -> Vec<Vec<u8>> {
    let templates = [
        r#"[{"text":"{{.a}}"}]"#,
        r#"{"a":{{.a | toJson}},"b":"{{.b}}"}"#,
        r#"{"a":"{{.a | toJson | trimAll "\""}}","b":"{{.b}}"}"#,
        r#"[{"text":"x",}]"#,
        r##"[{"text":"x"} # c"##,
        r#"{"a": }"#,
        r#"{{range $i, $c := .app.status.conditions}}{{if $i}},{{end}}{"t": "{{$c.message}}"}{{end}}"#,
        r#"[{{range .app.status.resources}}{"n": "{{.name}}", "{{.kind}}": {{.syncWave}}},{{end}}]"#,
        " \n {{.a}}",
        r#"{"{{.a}}": 1, "b\{{.b}}": "\u{{.a}}"}"#,
        r#"{"n": {{len .a}}, "f": {{1.5}}, "s": "{{printf "%q" .b}}"}"#,
    ];
    let values = ["ok", "say \"hi\"\nbye", "C:\\temp\\x\"", "", "\\", "\"", "\u{7}", "00e9", "]},"];
    let mut found = Vec::new();
    for template in templates {
        for a in values {
            for b in values {
                found.push(format!("{template}\0{a}\0{b}").into_bytes());
            }
        }
    }
    found
}

pub fn config_maps() -> Vec<Vec<u8>> {
    all(&[
        "trigger.on-x\0- when: app.status.health.status == 'Degraded'\n  oncePer: app.status.sync.revision\n  send: [x]\n  description: d\n",
        "trigger.y\0[{when: \"true\", send: x}, {when: app.a ===, send: [z]}]\0template.x\0message: |\n  hi {{.app.metadata.name}}\nslack:\n  attachments: '[{\"a\": \"{{.a}}\"}]'\n",
        "template.m\0message: {{.a}}\nemail: {subject: s, body: \"{{range}}\"}\nwebhook: {h: {method: POST, body: '{}', path: /x}}\nteams: {title: t}\n",
        "service.slack\0token: $tok\nusername: bot\nicon: ':x:'\n\0service.webhook.h\0url: https://h.example/$tok\nheaders: [{name: A, value: Bearer $tok}]\nbasicAuth: {username: u, password: p}\n",
        "service.email\0host: h\nport: 587\nfrom: a@b.example\nusername: $tok\npassword: pa$tok\n\0context\0a: 1\nb: yes\nc: 1.50\n",
        "subscriptions\0- recipients: [slack:a, email:b@c.example]\n  triggers: [on-x]\n  selector: team=red,tier in (a, b)\n\0defaultTriggers\0[a, b]\0defaultTriggers.slack\0- c\n",
        "config.yaml\0triggers:\n- name: a\n  condition: b\n\0trigger.\0\0template.\0~\0service.\0{}\0service.nope.x\0a: b\n",
        "trigger.a\0&a [{when: 'true', send: *a}]\0template.b\0<<: {message: a}\nmessage: b\nmessage: c\n",
    ])
}

pub fn subscriptions() -> Vec<Vec<u8>> {
    all(&[
        "- recipients: [slack:a]\n  triggers: [on-x]\n  selector: team=red\n\0subscribe.on-x.slack\0a;b\0subscribe.slack\0c\0subscribe..email\0d@e.example",
        "[{recipients: [a:b:c, ':', x], triggers: [t]}]\0subscriptions\0- trigger: [a]\n  destinations:\n  - service: slack\n    recipients: [x, y]\n",
        "\0subscribe.on-x.\0a\0subscribe.a.b.c\0d\0subscribe\0e\0subscribe.\0f\0subscriptions.x\0[]",
        "- recipients: 5\n- triggers: {}\n\0subscriptions\0{}\0subscribe.a.b\0;;;",
        "- selector: 'a notin (b), !c, d != e'\n  recipients: [webhook:]\n\0subscribe.x.webhook\0\0subscriptions\0- destinations: [{service: ''}]\n",
        "~\0subscribe.on-x.slack\0  a ; b;a\0subscribe.on-x.slack \0z",
    ])
}

pub fn states() -> Vec<Vec<u8>> {
    let many: Vec<String> = (0..130).map(|i| format!("\"k{i}:t:[0].h:slack:a\":{}", 1_767_225_600 + i)).collect();
    let many = format!("{{{}}}", many.join(","));
    all(&[
        "{\"abc123:on-deployed:[0].qyWrLKXYec9qR5FVB0ylUEJLjFg:slack:my-channel\":1767225600}",
        "{\"a\":1,\"b\":\"x\",\"c\":null,\"d\":1.5,\"e\":-1,\"f\":9223372036854775807}",
        "{}",
        "",
        "[1]",
        "{\"<a>&\\u003c\":1}",
        "not json",
        &many,
    ])
}

pub fn applications() -> Vec<Vec<u8>> {
    let mut found: Vec<Vec<u8>> =
        ["full", "min", "none"].map(|name| fixture(&format!("expr/app-{name}.json")).into_bytes()).to_vec();
    found.extend(all(&[
        r#"{"metadata": {"name": "a", "namespace": "b", "annotations": {"x": 5}}, "spec": {"sources": [{"repoURL": "r", "chart": "c", "targetRevision": "1"}, {"ref": "v"}]}}"#,
        r#"{"metadata": {"name": "a"}, "spec": {"source": {"helm": {"parameters": [{"name": 1}], "valuesObject": {"a": [[[[1]]]]}}}}, "status": []}"#,
        r#"{"metadata": {"name": "a", "deletionTimestamp": "x", "ownerReferences": [{}], "managedFields": [1]}, "spec": {"sourceHydrator": {"drySource": {"repoURL": "r"}}}}"#,
        r#"{"metadata": {"name": "a", "name": "b", "labels": null}, "status": {"operationState": {"startedAt": "2026-05-01T11:58:00Z", "operation": {"info": [{"name": "why", "value": "x"}]}}}}"#,
    ]));
    found
}

pub fn secrets() -> Vec<Vec<u8>> {
    all(&[
        "$slack-token",
        "Bearer $tok",
        "$user:$pw",
        "$other-secret:key",
        "$tls.key",
        "pa$word1",
        "$$a$",
        "é$é$_-",
        "$",
        "no reference",
        "$a$b$c",
    ])
}

pub fn references() -> Vec<Vec<u8>> {
    let text = fixture("reference/vectors.txt") + &fixture("reference/generated.tsv");
    let words = text.split(['\n', '\t']).filter(|word| !word.is_empty() && word.len() < 200);
    words.step_by(3).map(|word| word.as_bytes().to_vec()).collect()
}

pub fn selections() -> Vec<Vec<u8>> {
    let constraints = fixture("version/constraints.txt");
    let versions = fixture("version/versions.txt");
    let versions: Vec<&str> = versions.lines().filter(|line| !line.starts_with('#')).collect();
    let lists = ["regexp:^v?[0-9.]+$", "any", "glob:1.*", "", "regexp:(", "v*,*-rc*"];
    let mut found = Vec::new();
    for (i, constraint) in constraints.lines().enumerate() {
        let word = ["semver", "alphabetical", "newest-build", "digest", "latest", "x"][i % 6];
        let tags: Vec<&str> = versions.iter().cycle().skip(i * 7).take(12).copied().collect();
        let constraint = constraint.split('\t').next().unwrap_or_default();
        found.push(
            format!("{word}\0{constraint}\0{}\0{}\0{}", lists[i % 6], lists[(i + 3) % 6], tags.join(" ")).into_bytes(),
        );
    }
    found
}

pub fn image_annotations() -> Vec<Vec<u8>> {
    let text = fixture("annotations/cases.txt");
    let blocks = text.split("\n## ").skip(1);
    blocks
        .map(|block| {
            let asked = block.split("\n=>").next().unwrap_or_default();
            let mut list = "";
            let mut rest = String::new();
            for line in asked.lines().skip(1) {
                let Some((key, value)) = line.split_once(": ") else { continue };
                if key == "image-list" {
                    list = value;
                } else {
                    rest += &format!("\0{key}\0{value}");
                }
            }
            format!("{list}{rest}").into_bytes()
        })
        .collect()
}

pub fn registries() -> Vec<Vec<u8>> {
    let mut found = vec![fixture("registry/full.yaml").into_bytes(), fixture("registry/prefixes.yaml").into_bytes()];
    found.extend(all(&[
        "registries:\n- name: a\n  prefix: registry.example\n  api_url: https://registry.example\n  ping: yes\n  credentials: env:X\n  limit: 5\n  default: true\n",
        "registries: []\n",
        "registries:\n- {name: a, api_url: 'http://[::1', tagsortmode: latest-first, credsexpire: 10h, insecure: maybe}\n",
        "- a\n",
        "registries: {a: b}\nregistries: [1]\n",
    ]));
    found
}

/// The texts before their edits of a fixture of write-backs.
fn texts_before(file: &str) -> Vec<String> {
    let text = fixture(&format!("writeback/{file}.txt"));
    let blocks = text.split("\n=== ").skip(1).map(|block| {
        let body: String =
            block.lines().skip(1).filter(|line| !line.starts_with('@')).map(|line| format!("{line}\n")).collect();
        let body = body.replace("∎\n", "").replace('␍', "\r").replace('␉', "\t").replace('␣', " ");
        // The old side of each mark.
        let mut before = String::new();
        for (i, part) in body.split(['«', '»']).enumerate() {
            before += if i % 2 == 1 { part.split('|').next().unwrap_or_default() } else { part };
        }
        before.replace("ghcr.io/acme/web", "registry.example/web")
    });
    blocks.collect()
}

pub fn files() -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for (kind, file) in [("", "values"), ("k", "kustomization"), ("oo", "overrides"), ("", "yaml")] {
        let texts = texts_before(file).into_iter();
        found.extend(texts.map(|before| format!("{kind}\0v9.8.7\0{before}").into_bytes()));
    }
    found
}

pub fn files_of(file: &str) -> Vec<Vec<u8>> {
    texts_before(file).into_iter().map(|before| format!("v9.8.7\0{before}").into_bytes()).collect()
}

/// `image` as a scalar in every form, between what may stand around it.
pub fn scalars() -> Vec<Vec<u8>> {
    let forms = [
        "old:1",
        "'old:1'",
        "\"old:1\"",
        "!!str old:1",
        "old:1 # keep",
        "  'it''s'  # keep",
        "\"a\\tb\"",
        "''",
        "\"\"",
    ];
    let around = [
        ("", "\n"),
        ("# head\na: 1\n", "\nb: [1, {c: d}]\n# foot"),
        ("---\n", "\n...\n---\nimage: other\n"),
        ("%YAML 1.2\n---\na:\r\n- b\r\n", "\r\nc: |\n  text\n"),
        ("\u{feff}é: 日本\n", ""),
        ("{a: 1, \"image\": other}\n---\n", "\n"),
    ];
    let mut found = Vec::new();
    for form in forms {
        for (head, tail) in around {
            found.push(format!("v9.8.7\0{head}image: {form}{tail}").into_bytes());
        }
        found.push(format!("v9.8.7\0{{a: 1, image: {form}\n, b: 2}}\n").into_bytes());
    }
    found
}

pub fn constraints() -> Vec<Vec<u8>> {
    let constraints = fixture("version/constraints.txt");
    let constraints: Vec<&str> = constraints
        .lines()
        .map(|line| line.split('\t').next().unwrap_or_default())
        .filter(|c| !c.starts_with('#'))
        .collect();
    let versions = fixture("version/versions.txt");
    let versions: Vec<&str> = versions.lines().filter(|line| !line.starts_with('#')).collect();
    let pairs = constraints.iter().zip(constraints.iter().skip(7)).enumerate();
    pairs
        .map(|(i, (one, other))| {
            let some: Vec<&str> = versions.iter().cycle().skip(i * 7).take(12).copied().collect();
            format!("{one}\0{other}\0{}", some.join(" ")).into_bytes()
        })
        .collect()
}

pub fn commit_templates() -> Vec<Vec<u8>> {
    let own = lynceus::core::update::DEFAULT_TEMPLATE;
    let templates = [
        own,
        "{{.AppName}}: {{range .AppChanges}}{{.Image}} {{.OldTag}}-{{.NewTag}}{{index .Labels \"org.opencontainers.image.title\"}}{{end}}",
        "fix: x\n\nSigned-off-by: a <b@c.example>\nLynceus-Image: - a b -> c\n",
        "{{range .AppChanges}}{{printf \"%s\\n\\nLynceus-Hold: %s\" .Image .NewTag}}{{end}}\n\n\n",
        "{{.Nope}}",
        "{{range .AppChanges}}{{.Labels.x}}{{end}}",
        " \n",
        "a\r\n\r\nb: c\r\n",
        "# comment\n{{- /* x */ -}}\n",
    ];
    let mut found = Vec::new();
    for template in templates {
        for (old, new, label) in
            [("1.0", "1.1", "Web"), ("", "1.1", "a\n\nb: c"), ("x\ny", "a -> b", ""), ("é", "\u{7}", "-")]
        {
            found.push(format!("{template}\0{old}\0{new}\0{label}").into_bytes());
        }
    }
    found
}

pub fn branch_templates() -> Vec<Vec<u8>> {
    let settings = [
        "main",
        "main:image-updater{{range .Images}}-{{.Name}}-{{.NewTag}}{{end}}",
        ":lynceus/{{.AppName}}-{{.TargetKey}}",
        "main:{{.SHA256}}",
        "release/1.x:up/{{.AppNamespace}}/{{(index .Images 0).Alias}}{{(index .Images 0).OldTag}}",
        "main:{{.Nope}}",
        "main:a..b",
        "a:b:c",
        "refs/heads/x.lock",
        "main:{{printf \"%255s\" .AppName}}",
        "main:x{{range .Images}}{{.NewTag}}{{end}}",
    ];
    let mut found = Vec::new();
    for setting in settings {
        for (old, new) in [("1.0", "1.1"), ("", "a..b"), ("x y", ".lock"), ("é", "@{"), ("~", "/"), ("-", "\u{7f}")] {
            found.push(format!("{setting}\0{old}\0{new}").into_bytes());
        }
    }
    found
}

pub fn challenges() -> Vec<Vec<u8>> {
    all(&[
        "Bearer realm=\"https://auth.example/token\",service=\"registry.example\",scope=\"repository:a/b:pull\"",
        "Basic realm=\"Registry\"",
        "Basic realm=\"a, b\", Bearer realm=\"http://127.0.0.1:5000/t?x=1\"",
        "bearer Realm=https://auth.example/token , Service = x",
        "Negotiate\0NTLM\0Basic",
        "Digest realm=\"x\", nonce=\"a\\\"b\", qop=\"auth\"",
        "Bearer realm=\"/relative\"",
        "Bearer error=\"invalid_token\"\0Bearer realm=\"https://auth.example\"",
        "realm=\"https://auth.example\"",
        "Bearer realm=\"https://user:pw@auth.example/\",service=\"\"",
        ",,, = =, \"",
    ])
}

pub fn manifests() -> Vec<Vec<u8>> {
    let digest = format!("sha256:{}", "a1".repeat(32));
    let long = format!("sha512:{}", "b2".repeat(64));
    [
        format!(r#"application/vnd.oci.image.manifest.v1+json{NUL}{{"schemaVersion": 2, "config": {{"digest": "{digest}"}}, "layers": []}}"#),
        format!(r#"{NUL}{{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [{{"digest": "{digest}", "platform": {{"os": "linux", "architecture": "arm64", "variant": "v8"}}}}, {{"digest": "{long}", "mediaType": "application/vnd.oci.image.index.v1+json"}}]}}"#),
        format!(r#"application/vnd.docker.distribution.manifest.v1+prettyjws; charset=utf-8{NUL}{{"schemaVersion": 1, "fsLayers": []}}"#),
        format!(r#"x{NUL}{{"schemaVersion": 2, "manifests": [], "config": null}}"#),
        format!(r#"text/html{NUL}<html>"#),
        format!(r#"{NUL}{{"created": "2026-05-01T12:00:00.123456789Z", "os": "linux", "architecture": "amd64", "config": {{"Labels": {{"a": "b", "org.opencontainers.image.revision": "c0ffee"}}}}}}"#),
        format!(r#"{NUL}{{"created": "never", "config": {{"Labels": null}}, "variant": ""}}"#),
        format!(r#"{NUL}{{"manifests": [{{"digest": "sha256:short"}}]}}"#),
        format!(r#"a/b\u0007{NUL}{{"mediaType": "x\ny", "schemaVersion": 2}}"#),
    ]
    .map(String::into_bytes)
    .to_vec()
}

const NUL: char = '\0';

pub fn docker_configs() -> Vec<Vec<u8>> {
    all(&[
        "{\"auths\": {\"registry.example\": {\"auth\": \"cm9ib3Q6cHc=\"}}}\0registry.example\0a/b",
        "{\"auths\": {\"https://index.docker.io/v1/\": {\"username\": \"u\", \"password\": \"p\"}}}\0docker.io\0library/nginx",
        "{\"auths\": {\"*.example\": {\"auth\": \"cm9ib3Q6cHcAAA\"}, \"registry.example/a\": {\"auth\": \"Og==\"}}}\0registry.example\0a/b",
        "{\"auths\": {}, \"credHelpers\": {\"registry.example\": \"ecr-login\"}, \"credsStore\": \"desktop\"}\0registry.example\0a",
        "{\"auths\": {\"registry.example:5000/a/b/\": {\"identitytoken\": \"x\"}}}\0registry.example:5000\0a/b/c",
        "{\"auths\": {\"registry.example\": {\"auth\": \"!!\"}, \"x\": null}}\0registry.example\0",
        "{\"auths\": {\" HTTP://REGISTRY.example/v2/ \": {\"auth\": \"dTpwOnA=\"}}}\0Registry.Example\0a",
        "[]\0\0",
    ])
}

pub fn credentials() -> Vec<Vec<u8>> {
    all(&[
        "pullsecret:argocd/pull\0robot:pw",
        "secret:argocd/reg#creds\0robot:p:w\n",
        "env:REGISTRY_CREDENTIALS\0:token\r\n",
        "ext:/scripts/login.sh\0robot:",
        "registry.example=SECRET:a/b#c\0no colon",
        "=env:X\0\n",
        "secret:a/b/c#d#e\0ro\u{7}bot:pw",
        "envv:X\0robot:pässword",
        "robot:hunter2\0::",
    ])
}

pub fn packets() -> Vec<Vec<u8>> {
    let line = |text: &str| format!("{:04x}{text}", text.len() + 4);
    let (a, b) = ("1".repeat(40), "2".repeat(40));
    let head = line(&format!("{a} HEAD\0side-band-64k symref=HEAD:refs/heads/trunk agent=git/2\n"));
    let refs = line(&format!("{b} refs/heads/x\n"))
        + &line(&format!("{a} refs/tags/v1\n"))
        + &line(&format!("{b} refs/tags/v1^{{}}\n"));
    let service = line("# service=git-upload-pack\n");
    [
        format!("{service}0000{head}{refs}0000"),
        format!("{head}{refs}0000"),
        format!("{service}0000{}0000", line("ERR access denied\n")),
        format!("{}0000", line(&format!("{} capabilities^{{}}\0report-status object-format=sha256\n", "0".repeat(40)))),
        format!("{head}{}{refs}", line(&format!("shallow {a}\n"))),
        "0000".to_owned(),
        "fffe".to_owned(),
        "0003".to_owned(),
    ]
    .map(String::into_bytes)
    .to_vec()
}
