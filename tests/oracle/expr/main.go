// Command expr writes the golden vectors of the expression language: it runs the real expr-lang/expr over lists of
// expressions and records what it says. Nobody runs it but whoever regenerates tests/fixtures/expr; the ordinary tests
// only read what it wrote.
//
//	cd tests/oracle/expr && go run . cases ../../fixtures/expr
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/expr-lang/expr"
)

// Row is one line of a fixture.
type Row struct {
	Expr string `json:"expr"`
	Env  string `json:"env"`
	// value, run (fails when run) or compile (is refused).
	Verdict string `json:"verdict"`
	Text    string `json:"text,omitempty"`
	Type    string `json:"type,omitempty"`
	// What the real one said; for people only.
	Said string `json:"said,omitempty"`
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: expr <folder of cases> <folder of fixtures>")
		os.Exit(64)
	}
	time.Local = time.UTC
	cases, fixtures := os.Args[1], os.Args[2]
	names, err := filepath.Glob(filepath.Join(cases, "*.txt"))
	check(err)
	for _, name := range names {
		text, err := os.ReadFile(name)
		check(err)
		base := strings.TrimSuffix(filepath.Base(name), ".txt")
		write(filepath.Join(fixtures, base+".jsonl"), read(string(text)), fixtures)
	}
	write(filepath.Join(fixtures, "generated.jsonl"), thinned(generated()), fixtures)
	write(filepath.Join(fixtures, "precedence.jsonl"), precedence(), fixtures)
	write(filepath.Join(fixtures, "random.jsonl"), random(), fixtures)
	write(filepath.Join(fixtures, "mutants.jsonl"), mutants(cases, fixtures), fixtures)
}

// read takes one expression per line; letters and a tab before it choose the environments (f full, m min, n none);
// U+2424 stands for a line break; lines that start with `;;` are remarks.
func read(text string) []Row {
	var rows []Row
	seen := map[string]bool{}
	for _, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(line, ";;") || line == "" {
			continue
		}
		envs, source := "f", line
		if i := strings.IndexByte(line, '\t'); i >= 0 && i <= 3 {
			envs, source = line[:i], line[i+1:]
		}
		source = strings.ReplaceAll(source, "\u2424", "\n")
		for _, e := range envs {
			name := map[rune]string{'f': "full", 'm': "min", 'n': "none"}[e]
			if name == "" {
				panic("no such environment: " + line)
			}
			if !seen[name+source] {
				rows = append(rows, Row{Expr: source, Env: name})
			}
			seen[name+source] = true
		}
	}
	return rows
}

func write(name string, rows []Row, fixtures string) {
	out := bytes.Buffer{}
	counts := map[string]int{}
	for _, row := range rows {
		row = judge(row, fixtures)
		counts[row.Verdict]++
		encoder := json.NewEncoder(&out)
		encoder.SetEscapeHTML(false)
		check(encoder.Encode(row))
	}
	check(os.WriteFile(name, out.Bytes(), 0o644))
	fmt.Println(filepath.Base(name), len(rows), counts)
}

func judge(row Row, fixtures string) Row {
	program, err := expr.Compile(row.Expr)
	if err != nil {
		row.Verdict, row.Said = "compile", first(err)
		return row
	}
	value, err := expr.Run(program, environment(row.Env, fixtures))
	if err != nil {
		row.Verdict, row.Said = "run", first(err)
		return row
	}
	row.Verdict = "value"
	row.Text = fmt.Sprintf("%v", value)
	row.Type = fmt.Sprintf("%T", value)
	if strings.HasPrefix(row.Type, "func") {
		// Its address, and parameters that nothing depends on.
		row.Text, row.Type = "", "func"
	}
	return row
}

func first(err error) string {
	text, _, _ := strings.Cut(err.Error(), "\n")
	return text
}

func environment(name, fixtures string) map[string]any {
	text, err := os.ReadFile(filepath.Join(fixtures, "app-"+name+".json"))
	check(err)
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	return map[string]any{
		"app":     decode(text),
		"context": map[string]string{"argocdUrl": "https://cd.example", "empty": "", "notificationType": ""},
		"secrets": map[string][]byte{"k": []byte("s3"), "empty": {}},
		"time": map[string]any{
			"Now": func() time.Time { return now },
			"Parse": func(text string) time.Time {
				t, err := time.Parse(time.RFC3339, text)
				if err != nil {
					panic(err)
				}
				return t
			},
			"Nanosecond": time.Nanosecond, "Microsecond": time.Microsecond, "Millisecond": time.Millisecond,
			"Second": time.Second, "Minute": time.Minute, "Hour": time.Hour,
			"RFC3339": time.RFC3339, "RFC1123": time.RFC1123, "Kitchen": time.Kitchen,
		},
		"strings": map[string]any{
			"ReplaceAll": strings.ReplaceAll, "ToUpper": strings.ToUpper, "ToLower": strings.ToLower,
		},
		// Values of every Go type that a user can meet, and functions of every shape.
		"v": map[string]any{
			"i": 3, "j": int64(3), "k": int64(0), "f": 1.5, "g": 3.0, "s": "text", "n": "10", "e": "", "t": true, "u": false,
			"nil": nil, "list": []any{int64(1), "a", nil, true, 2.5}, "nums": []any{int64(3), int64(1), int64(2)},
			"texts": []string{"b", "a", "c"}, "ints": []int{3, 1, 2}, "none": []any{}, "nested": []any{[]any{int64(1)}, []any{int64(2), []any{int64(3)}}},
			"bytes": []byte("hi"), "m": map[string]any{"a": int64(1), "b": "x", "c": nil}, "tm": map[string]string{"a": "1"},
			"time": now.Add(-2 * time.Minute), "dur": 90 * time.Second,
			"objs": []any{
				map[string]any{"name": "web", "n": int64(2), "ok": true, "tags": []any{"x", "y"}},
				map[string]any{"name": "db", "n": int64(1), "ok": false, "tags": []any{}},
				map[string]any{"name": "job", "n": int64(2), "ok": true},
			},
		},
		"fn": map[string]any{
			"Two": func(text string, n int) string { return fmt.Sprint(text, n) },
			"Sum": func(ns ...int) int {
				s := 0
				for _, n := range ns {
					s += n
				}
				return s
			},
			"Fail": func() (any, error) { return nil, fmt.Errorf("failed on purpose") },
			"Any":  func(x any) any { return x },
			"Dur":  func(d time.Duration) string { return d.String() },
			"Big":  func(n int64) int64 { return n },
			"Half": func(f float64) float64 { return f / 2 },
			"Not":  func(b bool) bool { return !b },
		},
	}
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
		for k, v := range value {
			value[k] = convert(v)
		}
	case []any:
		for i, v := range value {
			value[i] = convert(v)
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

// generated is every operator between operands of every kind, constant and dynamic.
func generated() []Row {
	operands := []string{
		"nil", "true", "1", "2.5", "'a'", "'10'", "[1]", "['a']", "{a: 1}", "now()", "duration('1m')", "app.nope", "v.i", "v.j", "v.f", "v.s", "v.t",
		"v.nums", "v.texts", "v.m", "v.tm", "v.time", "v.dur", "v.bytes", "secrets.nope", "time.Minute",
	}
	operators := []string{
		"==", "!=", "<", ">=", "+", "-", "*", "/", "%", "**", "in", "not in", "matches", "contains", "startsWith", "..", "??", "and", "or",
	}
	short := []string{"nil", "1", "'a'", "['a']", "{a: 1}", "app.nope", "v.i", "v.j", "v.f", "v.s", "v.t", "v.nums", "v.m", "v.time", "v.dur", "2.5", "true", "duration('1m')", "now()"}
	var rows []Row
	add := func(source string) { rows = append(rows, Row{Expr: source, Env: "full"}) }
	for _, o := range operators {
		list := operands
		switch o {
		case "!=", ">=", "not in", "startsWith", "or", "/":
			list = short
		}
		for _, a := range list {
			for _, b := range list {
				switch {
				case o == ".." && (strings.HasPrefix(b, "v.time") || a == "v.dur"):
				case a == "now()" && b == "now()":
					// The real clock goes on in between.
				case a == "now()" && (o == "+" || o == "-" || o == "??"), b == "now()" && (o == "+" || o == "-" || o == "??" || o == "and" || o == "or"):
					// The result would hold the time of the run.
				default:
					add(a + " " + o + " " + b)
				}
			}
		}
	}
	for _, a := range operands {
		for _, o := range []string{"-", "+", "not ", "!"} {
			if a != "now()" {
				add(o + a)
			}
		}
		if a == "now()" {
			continue
		}
		for _, shape := range []string{
			"(%s).a", "(%s)?.a", "(%s)['a']", "(%s)[0]", "(%s)[-1]", "(%s)[0:1]", "(%s)[:]", "(%s) ? 1 : 2", "(%s) ?: 'z'", "let x = %s; x", "[%s, %[1]s]", "{a: %s}",
			"(%s)[1.5]", "(%s)['a':]", "(%s).Unix()", "(%s).Minutes()", "(%s).String()",
		} {
			add(fmt.Sprintf(shape, a))
		}
		for _, f := range []string{
			"len", "type", "abs", "ceil", "floor", "round", "int", "float", "string", "trim", "upper", "lower", "split", "join", "max", "min", "mean", "median", "toJSON",
			"fromJSON", "toBase64", "fromBase64", "duration", "date", "timezone", "first", "last", "toPairs", "fromPairs", "reverse", "uniq", "concat", "flatten", "sort",
			"bitnot", "count", "sum", "keys", "values", "trimPrefix", "trimSuffix",
		} {
			// The order of several keys is Go's secret.
			if (f == "keys" || f == "values" || f == "toPairs") && a == "v.m" {
				continue
			}
			add(f + "(" + a + ")")
		}
		for _, f := range []string{
			"any(%s, # == 1)", "all(%s, true)", "none(%s, #)", "one(%s, # == 'a')", "filter(%s, # != nil)", "map(%s, #index)", "find(%s, # == 1)", "findIndex(%s, # == 1)",
			"findLast(%s, true)", "findLastIndex(%s, true)", "count(%s, # == 1)", "sum(%s, 1)", "groupBy(%s, #)", "sortBy(%s, #)", "reduce(%s, #acc)", "get(%s, 0)", "get(%s, 'a')",
			"take(%s, 1)", "take([1, 2], %s)", "repeat('a', %s)", "bitand(%s, 1)", "bitshl(1, %s)", "split(%s, 'x')", "split('axb', %s)", "replace('aa', 'a', %s)", "indexOf(%s, 'a')",
			"hasPrefix('a', %s)", "join(['a', 'b'], %s)", "sort([2, 1], %s)", "strings.ToUpper(%s)", "fn.Two('a', %s)", "fn.Sum(%s)", "fn.Any(%s)", "fn.Dur(%s)", "fn.Big(%s)", "fn.Half(%s)",
			"fn.Not(%s)", "time.Now().Add(%s)", "time.Now().Sub(%s).Minutes()", "time.Now().After(%s)", "now().After(%s)", "now().Add(%s).IsZero()", "%s.b.c", "%s?.b?.c",
			"(%s)?.b.c", "false and (%s)", "(%s) and false", "true and (%s)", "(%s) or false", "get(v.m, %s)", "v.m[%s]", "v.list[%s]", "v.tm[%s]", "1 in [1, %s]", "'a' in {a: %s}",
			"if true { %s } else { nil }", "max(1, %s)", "min(%s, 0.5)", "mean([1, %s])", "date(%s, '2006')", "'ab'[%s:]", "v.s[:%s]", "'a' matches %s",
		} {
			add(strings.ReplaceAll(f, "%s", a))
		}
	}
	return rows
}

// thinned keeps every so many-th row, unless ALL is set: the repository need not hold all combinations.
func thinned(rows []Row) []Row {
	if os.Getenv("ALL") != "" {
		return rows
	}
	var kept []Row
	for i, row := range rows {
		if i%13 == 0 {
			kept = append(kept, row)
		}
	}
	return kept
}

// precedence is every pair of operators without parentheses, with operands that most operators take.
func precedence() []Row {
	var rows []Row
	binary := []string{
		"or", "||", "and", "&&", "==", "!=", "<", ">", ">=", "<=", "in", "not in", "matches", "contains", "startsWith", "endsWith", "..", "+", "-", "*", "/", "%", "**", "^", "??",
	}
	operands := [][3]string{{"v.i", "v.j", "v.f"}, {"v.t", "v.nil", "v.u"}, {"v.s", "v.e", "v.texts"}}
	for _, a := range binary {
		for _, b := range binary {
			for _, o := range operands {
				rows = append(rows, Row{Expr: o[0] + " " + a + " " + o[1] + " " + b + " " + o[2], Env: "full"})
			}
		}
		for _, shape := range []string{"not v.t %s v.u", "-v.i %s -v.j", "!v.t %s !v.u", "v.i %s v.j ? 1 : 2", "v.s %s v.e | string()", "(v.i %s v.j).x"} {
			rows = append(rows, Row{Expr: fmt.Sprintf(shape, a), Env: "full"})
		}
	}
	return rows
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
