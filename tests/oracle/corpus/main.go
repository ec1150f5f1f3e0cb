// Loads the ConfigMaps of tests/fixtures/corpus as Argo CD Notifications does, evaluates every condition with
// expr-lang/expr and renders every templated text with text/template and sprig on every fixture Application, and writes
// down what came out. The ordinary tests read only that.
//
//	cd tests/oracle/corpus && go run . ../../fixtures/corpus && go run . ../../fixtures/catalog
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"text/template"
	"time"

	"github.com/Masterminds/sprig/v3"
	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/vm"
	"sigs.k8s.io/yaml"
)

// Condition is one item of a trigger, with the types upstream reads it into.
type Condition struct {
	When        string   `json:"when"`
	OncePer     string   `json:"oncePer"`
	Description string   `json:"description"`
	Send        []string `json:"send"`
}

// Template holds the texts that upstream compiles.
type Template struct {
	Message string `json:"message"`
	Email   *struct {
		Subject string `json:"subject"`
		Body    string `json:"body"`
	} `json:"email"`
	Slack *struct {
		Username    string `json:"username"`
		Icon        string `json:"icon"`
		Attachments string `json:"attachments"`
		Blocks      string `json:"blocks"`
		GroupingKey string `json:"groupingKey"`
	} `json:"slack"`
	Teams     map[string]string `json:"teams"`
	Workflows map[string]string `json:"teams-workflows"`
	Webhook   map[string]struct {
		Method string `json:"method"`
		Path   string `json:"path"`
		Body   string `json:"body"`
	} `json:"webhook"`
}

// Answer is what one condition or text gave for one Application.
type Answer struct {
	App    string  `json:"app"`
	Result string  `json:"result,omitempty"`
	Once   string  `json:"once,omitempty"`
	Text   *string `json:"text,omitempty"`
	// The Application whose text is the very same.
	Same  string `json:"same,omitempty"`
	Error string `json:"error,omitempty"`
}

// Found is everything about one ConfigMap.
type Found struct {
	// Keys that make upstream refuse the whole ConfigMap, with its words.
	Rejected map[string]string   `json:"rejected,omitempty"`
	Triggers map[string][]Answer `json:"triggers,omitempty"`
	Texts    map[string][]Answer `json:"texts,omitempty"`
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: corpus <folder of fixtures>")
		os.Exit(64)
	}
	time.Local = time.UTC
	folder := os.Args[1]
	apps := map[string]any{}
	files, err := filepath.Glob(filepath.Join(folder, "apps", "*.json"))
	check(err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		check(err)
		apps[strings.TrimSuffix(filepath.Base(file), ".json")] = decode(text)
	}
	check(os.MkdirAll(filepath.Join(folder, "expected"), 0o755))
	maps, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	check(err)
	rejected := 0
	for _, file := range maps {
		text, err := os.ReadFile(file)
		check(err)
		var object struct {
			Data map[string]string `json:"data"`
		}
		check(yaml.Unmarshal(text, &object))
		found := judge(object.Data, apps)
		if len(found.Rejected) > 0 {
			rejected++
		}
		out := bytes.Buffer{}
		encoder := json.NewEncoder(&out)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", " ")
		check(encoder.Encode(found))
		name := strings.TrimSuffix(filepath.Base(file), ".yaml") + ".json"
		check(os.WriteFile(filepath.Join(folder, "expected", name), out.Bytes(), 0o644))
	}
	fmt.Println(len(maps), "ConfigMaps,", rejected, "rejected,", len(apps), "Applications")
}

func judge(data map[string]string, apps map[string]any) Found {
	found := Found{Rejected: map[string]string{}, Triggers: map[string][]Answer{}, Texts: map[string][]Answer{}}
	context := map[string]string{}
	if text, ok := data["context"]; ok {
		if err := yaml.Unmarshal([]byte(text), &context); err != nil {
			found.Rejected["context"] = first(err)
		}
	}
	for key, text := range data {
		kind, name, _ := strings.Cut(key, ".")
		switch kind {
		case "trigger":
			trigger(found, key, name, text, context, apps)
		case "template":
			compile(found, key, name, text, context, apps)
		}
	}
	return found
}

func trigger(found Found, key, name, text string, context map[string]string, apps map[string]any) {
	var conditions []Condition
	if err := yaml.Unmarshal([]byte(text), &conditions); err != nil {
		found.Rejected[key] = first(err)
		return
	}
	for index, condition := range conditions {
		when, err := expr.Compile(condition.When)
		if err != nil {
			found.Rejected[key] = first(err)
			continue
		}
		var once *vm.Program
		if condition.OncePer != "" {
			if once, err = expr.Compile(condition.OncePer); err != nil {
				found.Rejected[key] = first(err)
				continue
			}
		}
		id := fmt.Sprintf("%s[%d]", name, index)
		for _, app := range sorted(apps) {
			answer := Answer{App: app}
			value, err := expr.Run(when, variables(apps[app], context, "", false))
			if err != nil {
				answer.Result, answer.Error = "error", first(err)
			} else if value == true {
				answer.Result = "true"
				if once != nil {
					text, err := expr.Run(once, variables(apps[app], context, "", false))
					if err != nil {
						answer.Error = first(err)
					} else {
						answer.Once = fmt.Sprintf("%v", text)
					}
				}
			} else {
				answer.Result = "false"
			}
			found.Triggers[id] = append(found.Triggers[id], answer)
		}
	}
}

func compile(found Found, key, name, text string, context map[string]string, apps map[string]any) {
	var parsed Template
	if err := yaml.Unmarshal([]byte(text), &parsed); err != nil {
		found.Rejected[key] = first(err)
		return
	}
	fields := map[string][2]string{"message": {"slack", parsed.Message}}
	if email := parsed.Email; email != nil {
		fields["email.subject"] = [2]string{"email", email.Subject}
		fields["email.body"] = [2]string{"email", email.Body}
	}
	if slack := parsed.Slack; slack != nil {
		for field, text := range map[string]string{"username": slack.Username, "icon": slack.Icon, "attachments": slack.Attachments, "blocks": slack.Blocks, "groupingKey": slack.GroupingKey} {
			fields["slack."+field] = [2]string{"slack", text}
		}
	}
	for field, text := range parsed.Teams {
		fields["teams."+field] = [2]string{"teams", text}
	}
	for field, text := range parsed.Workflows {
		fields["teams-workflows."+field] = [2]string{"teams-workflows", text}
	}
	for service, hook := range parsed.Webhook {
		fields["webhook."+service+".path"] = [2]string{service, hook.Path}
		fields["webhook."+service+".body"] = [2]string{service, hook.Body}
	}
	functions := sprig.TxtFuncMap()
	delete(functions, "env")
	delete(functions, "expandenv")
	functions["now"] = clock
	for field, source := range fields {
		if source[1] == "" {
			continue
		}
		compiled, err := template.New("t").Funcs(functions).Parse(source[1])
		if err != nil {
			found.Rejected[key] = first(err)
			continue
		}
		id := name + ": " + field
		seen := map[string]string{}
		for _, app := range sorted(apps) {
			answer, out := Answer{App: app}, bytes.Buffer{}
			if err := compiled.Execute(&out, variables(apps[app], context, source[0], true)); err != nil {
				answer.Error = first(err)
			} else {
				text := out.String()
				if same, ok := seen[text]; ok {
					answer.Same = same
				} else {
					seen[text], answer.Text = app, &text
				}
			}
			found.Texts[id] = append(found.Texts[id], answer)
		}
	}
}

func clock() time.Time {
	return time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
}

type commit struct {
	Message string
	Author  string
	Date    time.Time
	Tags    []string
}

func variables(app any, context map[string]string, service string, templates bool) map[string]any {
	own := map[string]string{"notificationType": service}
	for key, value := range context {
		own[key] = value
	}
	parse := func(text string) time.Time {
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			panic(err)
		}
		return at
	}
	all := map[string]any{
		"app": app, "appProject": map[string]any{}, "context": own,
		"secrets": map[string][]byte{"word": []byte("s3")},
		"time": map[string]any{
			"Now": clock, "Parse": parse, "Nanosecond": time.Nanosecond, "Microsecond": time.Microsecond,
			"Millisecond": time.Millisecond, "Second": time.Second, "Minute": time.Minute, "Hour": time.Hour,
			"RFC3339": time.RFC3339, "Kitchen": time.Kitchen,
		},
		"strings": map[string]any{"ReplaceAll": strings.ReplaceAll, "ToUpper": strings.ToUpper, "ToLower": strings.ToLower},
		"repo": map[string]any{
			"RepoURLToHTTPS": toHTTPS, "FullNameByRepoURL": fullName, "QueryEscape": url.QueryEscape,
			"GetCommitMetadata": func(id string) (*commit, error) {
				if len(id) < 7 {
					return nil, errors.New("no such commit")
				}
				return &commit{"Raise the limit", "Ann <ann@corp.test>", clock(), []string{"v1"}}, nil
			},
		},
		"sync": map[string]any{"GetInfoItem": infoItem},
	}
	if templates {
		all["serviceType"], all["recipient"] = service, "somebody"
	}
	return all
}

func toHTTPS(address string) string {
	if rest, ok := strings.CutPrefix(address, "git@"); ok {
		return "https://" + strings.Replace(rest, ":", "/", 1)
	}
	return address
}

func fullName(address string) string {
	parsed, err := url.Parse(toHTTPS(address))
	check(err)
	parts := strings.Split(strings.TrimSuffix(strings.Trim(parsed.Path, "/"), ".git"), "/")
	return strings.Join(parts[:min(2, len(parts))], "/")
}

func infoItem(app map[string]any, name string) string {
	at := func(path ...string) []any {
		var value any = app
		for _, part := range path {
			object, _ := value.(map[string]any)
			value = object[part]
		}
		list, _ := value.([]any)
		return list
	}
	items := at("operation", "info")
	if len(items) == 0 {
		items = at("status", "operationState", "operation", "info")
	}
	for _, item := range items {
		if pair, _ := item.(map[string]any); pair["name"] == name {
			return pair["value"].(string)
		}
	}
	return ""
}

// decode gives what Kubernetes' decoder gives: integral numbers as int64.
func decode(text []byte) any {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var value any
	check(decoder.Decode(&value))
	return convert(value)
}

func convert(value any) any {
	switch value := value.(type) {
	case map[string]any:
		for key, inner := range value {
			value[key] = convert(inner)
		}
	case []any:
		for index, inner := range value {
			value[index] = convert(inner)
		}
	case json.Number:
		if n, err := value.Int64(); err == nil {
			return n
		}
		f, err := value.Float64()
		check(err)
		return f
	}
	return value
}

func sorted(apps map[string]any) []string {
	names := []string{}
	for name := range apps {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

func first(err error) string {
	text, _, _ := strings.Cut(err.Error(), "\n")
	return text
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
