// Renders templates with Go's own text/template and sprig and writes down what came out: the fixtures of
// tests/fixtures/template come from here. The ordinary tests never run it.
//
//	go run . < cases.jsonl > expected.jsonl
//	go run . mutants <seed> <count> > ../../fixtures/template/mutants.jsonl
//	go run . calls <seed> <count> > ../../fixtures/template/calls.jsonl
//
// A line of input is {"name", "template", "plain"?, "zone"?}; a line of output has one of "output", "parse_error" or
// "exec_error" added. "plain" leaves sprig's functions out, "zone" sets the local time zone (default UTC).
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"text/template"
	"time"

	"github.com/Masterminds/sprig/v3"
)

type testCase struct {
	Name       string  `json:"name"`
	Template   string  `json:"template"`
	Plain      bool    `json:"plain,omitempty"`
	Zone       string  `json:"zone,omitempty"`
	Output     *string `json:"output,omitempty"`
	ParseError string  `json:"parse_error,omitempty"`
	ExecError  string  `json:"exec_error,omitempty"`
}

type commit struct {
	Message string
	Author  string
	Date    time.Time
	Tags    []string
}

// Numbers as Kubernetes' decoder gives them.
func normal(v any) any {
	switch v := v.(type) {
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return i
		}
		f, _ := v.Float64()
		return f
	case []any:
		for i := range v {
			v[i] = normal(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = normal(v[k])
		}
	}
	return v
}

func clock() time.Time {
	return time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC).In(time.Local)
}

func data(app []byte) map[string]any {
	decoder := json.NewDecoder(bytes.NewReader(app))
	decoder.UseNumber()
	var root map[string]any
	if err := decoder.Decode(&root); err != nil {
		panic(err)
	}
	root = normal(root).(map[string]any)
	at := time.Date(2026, 5, 1, 11, 58, 0, 0, time.UTC)
	root["tm"] = at
	root["du"] = 90 * time.Second
	root["context"] = map[string]string{"argocdUrl": "https://argo.example", "environmentName": "prod", "notificationType": "slack", "empty": ""}
	root["secrets"] = map[string][]byte{"token": []byte("s3"), "empty": {}}
	root["serviceType"] = "slack"
	root["recipient"] = "#deploy"
	root["fn"] = map[string]any{
		"Up":  strings.ToUpper,
		"Add": func(a, b int) int { return a + b },
		"Err": func() (string, error) { return "", errors.New("it broke") },
		"Any": func(v any) string { return fmt.Sprintf("<%v>", v) },
		"Cat": func(sep string, parts ...string) string { return strings.Join(parts, sep) },
		"Dur": func(d time.Duration) string { return d.String() },
	}
	root["time"] = map[string]any{
		"Now":     clock,
		"Parse":   func(s string) (time.Time, error) { return time.Parse(time.RFC3339, s) },
		"Minute":  time.Minute,
		"RFC1123": time.RFC1123,
	}
	root["strings"] = map[string]any{"ReplaceAll": strings.ReplaceAll, "ToUpper": strings.ToUpper, "ToLower": strings.ToLower}
	root["repo"] = map[string]any{
		"QueryEscape": url.QueryEscape,
		"GetCommitMetadata": func(sha string) (*commit, error) {
			if len(sha) < 7 {
				return nil, errors.New("no such commit")
			}
			return &commit{"Fix <it>\n\nnow", "Ann <ann@example.org>", at, []string{"v1", "v2"}}, nil
		},
	}
	return root
}

func run(c *testCase, app []byte) {
	zone := "UTC"
	if c.Zone != "" {
		zone = c.Zone
	}
	location, err := time.LoadLocation(zone)
	if err != nil {
		panic(err)
	}
	time.Local = location
	t := template.New("t")
	if !c.Plain {
		functions := sprig.TxtFuncMap()
		delete(functions, "env")
		delete(functions, "expandenv")
		functions["now"] = clock
		t = t.Funcs(functions)
	}
	t, err = t.Parse(c.Template)
	if err != nil {
		c.ParseError = err.Error()
		return
	}
	var out bytes.Buffer
	if err := t.Execute(&out, data(app)); err != nil {
		c.ExecError = err.Error()
		return
	}
	text := out.String()
	c.Output = &text
}

func main() {
	app, err := os.ReadFile("../../fixtures/template/data.json")
	if err != nil {
		panic(err)
	}
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	if len(os.Args) == 4 && (os.Args[1] == "mutants" || os.Args[1] == "calls") {
		seed, err := strconv.ParseInt(os.Args[2], 10, 64)
		if err != nil {
			panic(err)
		}
		count, err := strconv.Atoi(os.Args[3])
		if err != nil {
			panic(err)
		}
		generate := map[string]func(int64, int, []byte) []testCase{"mutants": mutants, "calls": calls}[os.Args[1]]
		for _, c := range generate(seed, count, app) {
			if err := out.Encode(c); err != nil {
				panic(err)
			}
		}
		return
	}
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(make([]byte, 1<<20), 1<<20)
	for in.Scan() {
		var c testCase
		if err := json.Unmarshal(in.Bytes(), &c); err != nil {
			panic(err)
		}
		run(&c, app)
		if err := out.Encode(c); err != nil {
			panic(err)
		}
	}
}
