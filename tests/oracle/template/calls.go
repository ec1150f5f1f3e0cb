package main

import (
	"encoding/json"
	"fmt"
	"math/rand"
	"sort"
	"strings"

	"github.com/Masterminds/sprig/v3"
)

// Arguments of every kind a user can write or meet, and their corners.
var arguments = []string{
	"nil", "true", "false", "0", "1", "2", "3", "-1", "-3", "7", "12", "300", "1.5", "-2.5", "0.0", "2.0", "1e3", "9007199254740993", "1_000", "0x1f", "'a'", "'é'", "1i",
	`""`, `"a"`, `"abc"`, `"a b  c"`, `"  x "`, `"é日本x"`, `"12"`, `"-7"`, `"1.5"`, `"0x10"`, `"010"`, `"true"`, `"1h30m"`, `"90"`, `"-1h"`, `"a,b,c"`, `","`, `"-"`, `" "`, `"."`,
	`"Hello_World-fooBar"`, `"XMLHttpRequest"`, `"line1\nline2\n"`, `"tab\there"`, `"<a href='x'>\"&"`, `"2006-01-02"`, `"2026-05-01"`, `"15:04:05 MST"`, `"Mon Jan _2 2006"`, `"3:04PM"`,
	`"2026-05-01T10:00:00Z"`, `"Europe/Zurich"`, `"America/New_York"`, `"Local"`, `"Nowhere"`, `"[a-c]+"`, `"(b)(c)?"`, `"${1}x$2"`, `"(?i)A"`, `"("`, `"^$"`, `"1.2.3"`, `"v1.2"`, `"1.2.3-rc.1+b5"`,
	`">=1.0 <2"`, `"^1.2"`, `"~1"`, `"https://u:p@h.example:8443/a/b.txt?x=1&y=2#f"`, `"/a/../b//c.tar.gz"`, `"aGVsbG8="`, `"NBSWY3DP"`, `"{\"a\": [1, 2.5, \"x\", null, true]}"`, `"[1, 2"`, `"map"`, `"int"`, `"string"`,
	`"%d|%s"`, `"%v"`, `"%5.1f"`, "`raw\\n`", `"äöü ß"`, `"a\x00b"`, `"👍🏽"`,
	".app.s", ".app.e", ".app.i", ".app.z", ".app.f", ".app.big", ".app.l", ".app.m", ".app.n", ".app.t", ".app.el", ".app.em", ".app.u", ".app.nope", ".nope", ".context", ".context.argocdUrl", ".context.nope",
	".secrets", ".secrets.token", ".tm", ".du", ".fn.Up", ".app.metadata", ".app.status.conditions", ".app.status.summary.images", ".app.status.operationState.finishedAt", ".time.Minute",
	"(list)", "(list 1 2 3)", `(list "b" "a" "c")`, `(list 1 "a" nil 2.5)`, "(list 3 1 2 1)", "(list (list 1) (list 2 (list 3)))", `(list (dict "a" 1) (dict "a" 2 "b" 3))`, `(dict)`, `(dict "a" 1)`,
	`(dict "a" 1 "b" (dict "c" 2))`, `(dict "b" "" "a" nil)`, `(dict 1 2)`, "(until 3)", `(splitList "," "b,a,c")`, `(split "," "b,a,c")`, "(int 3)", "(int64 7)", "(float64 1.5)", `(int64 "5")`, `(toStrings .app.l)`,
	`(print "x" 1)`, "(.tm.Add .du)", "(.tm.AddDate 0 1 1)", "(.du.Round 1)", "(now)", `(fromJson "{\"n\": 1, \"l\": [1]}")`, `(semver "1.2.3")`, "(tuple 1 2)", `(keys (dict "a" 1))`, `(b64enc "x")`,
}

// calls is every function with arguments taken by chance.
func calls(seed int64, count int, app []byte) []testCase {
	r := rand.New(rand.NewSource(seed))
	names := []string{"print", "println", "printf", "len", "index", "html", "js", "urlquery", "call", "eq", "ne", "lt", "le", "gt", "ge", "and", "or", "not"}
	for name := range sprig.TxtFuncMap() {
		if name != "env" && name != "expandenv" && name != "hello" && (!unsteady.MatchString(name) || name == "until" || name == "untilStep" || name == "seq" || name == "repeat") {
			names = append(names, name)
		}
	}
	for _, method := range strings.Fields("Format Add AddDate Sub Before After Equal Compare In Truncate Round Unix UnixMilli IsZero Year Month Day Hour Weekday YearDay Local UTC IsDST String Nope") {
		names = append(names, ".tm."+method)
	}
	for _, method := range strings.Fields("Hours Minutes Seconds Milliseconds String Round Truncate Abs Nope") {
		names = append(names, ".du."+method, "(.tm.Sub (.tm.Add .du))."+method)
	}
	names = append(names, "call .fn.Up", "call .fn.Add", "call .fn.Cat", "call .fn.Dur", "call .fn.Any", "call .time.Parse", "call .strings.ReplaceAll", "(call .repo.GetCommitMetadata \"1234567\").Tags", "(call .repo.GetCommitMetadata \"1234567\").Date.Format")
	sort.Strings(names)
	pick := func() string { return arguments[r.Intn(len(arguments))] }
	var cases []testCase
	seen := map[string]bool{}
	for i := 0; len(cases) < count; i++ {
		name := names[i%len(names)]
		large := map[string]bool{"until": true, "untilStep": true, "seq": true, "repeat": true, "indent": true, "nindent": true}[name]
		args := make([]string, []int{0, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 4}[r.Intn(12)])
		for j := range args {
			args[j] = pick()
			for strings.Contains(args[j], ".fn.") || large && (strings.Contains(args[j], "du") || strings.Contains(args[j], "9007") || strings.Contains(args[j], "Minute")) {
				args[j] = pick()
			}
		}
		if strings.Contains(strings.ToLower(name), "date") && name != "toDate" && name != "mustToDate" && len(args) > 0 {
			// What is no date is the time of the run.
			dates := []string{".tm", "(now)", "0", "300", "1714557480", "(.tm.AddDate 0 1 1)", "(int64 7)", "(.tm.Add .du)"}
			at := len(args) - 1
			if at == 2 && strings.Contains(name, "n") {
				at = 1
			}
			args[at] = dates[r.Intn(len(dates))]
		}
		if name == "set" && len(args) > 2 && args[0] == args[2] {
			// Go prints a map that holds itself until its stack ends.
			continue
		}
		piped := ""
		if len(args) > 0 && r.Intn(3) == 0 {
			piped, args = args[0]+" | ", args[1:]
		}
		if name == "printf" {
			args = append([]string{format(r)}, args...)
		}
		body := strings.TrimSpace(piped + name + " " + strings.Join(args, " "))
		shown := []string{"{{%s}}", `{{%s | printf "%%T %%v"}}`, `{{%s | printf "%%#v %%q"}}`, "{{(%s) | toJson}}", "{{range %s}}[{{.}}]{{else}}none{{end}}", "{{with %s}}{{.}}{{else}}-{{end}}"}
		source := fmt.Sprintf(shown[[]int{0, 0, 0, 1, 1, 2, 3, 4, 5}[r.Intn(9)]], body)
		// Counting to such numbers takes too long.
		if seen[source] || strings.HasPrefix(source, "{{range") && (strings.Contains(source, "9007") || strings.Contains(source, "nix") || strings.Contains(source, "du") || strings.Contains(source, "Minute")) {
			continue
		}
		seen[source] = true
		c := testCase{Name: fmt.Sprintf("call_%d", len(cases)+1), Template: source}
		steady := true
		var last string
		for tries := 0; tries < 3; tries++ {
			again := c
			run(&again, app)
			text, _ := json.Marshal(again)
			steady = steady && (tries == 0 || last == string(text))
			last = string(text)
			if tries == 2 {
				c = again
			}
		}
		if steady && len(last) < 1500 {
			cases = append(cases, c)
		}
	}
	return cases
}

// format is a format of printf: flags, width, precision, verb; now and then broken.
func format(r *rand.Rand) string {
	pick := func(from ...string) string { return from[r.Intn(len(from))] }
	var out strings.Builder
	for n := 1 + r.Intn(2); n > 0; n-- {
		out.WriteString("%" + pick("", "", "", "+", "-", "#", "0", " ", "+#", "-0", "# ", "+0"))
		out.WriteString(pick("", "", "", "1", "5", "12", "*", "[1]*", "[2]"))
		out.WriteString(pick("", "", "", ".0", ".2", ".10", ".", ".*"))
		out.WriteString(pick("v", "v", "d", "s", "q", "x", "X", "o", "O", "b", "c", "U", "e", "E", "f", "F", "g", "G", "t", "p", "T", "%", "z", "w", "é", ""))
		out.WriteString(pick("", "|", " "))
	}
	return `"` + out.String() + `"`
}
