package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// token is what mutants are made of.
var token = regexp.MustCompile("\\{\\{-?|-?\\}\\}|\\s+|[A-Za-z_][A-Za-z0-9_]*|[0-9][0-9a-fA-FxobXOB_.]*|'[^']*'|\"(?:\\\\.|[^\"\\\\])*\"|`[^`]*`|:=|/\\*|\\*/|(?s:.)")

// mutants is the cases of the fixtures with a few tokens left out, doubled, exchanged or taken from another case; those
// that Go answers in two ways, or at length, are left out.
func mutants(seed int64, count int, app []byte) []testCase {
	r := rand.New(rand.NewSource(seed))
	var corpus [][]string
	var pool []string
	names, err := filepath.Glob("../../fixtures/template/*.jsonl")
	if err != nil {
		panic(err)
	}
	for _, name := range names {
		if filepath.Base(name) == "plain.jsonl" || filepath.Base(name) == "mutants.jsonl" {
			continue
		}
		file, err := os.Open(name)
		if err != nil {
			panic(err)
		}
		lines := bufio.NewScanner(file)
		lines.Buffer(make([]byte, 1<<20), 1<<20)
		for lines.Scan() {
			var c testCase
			if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
				panic(err)
			}
			if len(c.Template) < 200 {
				tokens := token.FindAllString(c.Template, -1)
				corpus = append(corpus, tokens)
				for _, t := range tokens {
					// Texts from JSON with a lone surrogate cannot be written down again.
					if !strings.ContainsRune(t, '\ufffd') {
						pool = append(pool, t)
					}
				}
			}
		}
	}
	var cases []testCase
	seen := map[string]bool{}
	for len(cases) < count {
		tokens := append([]string{}, corpus[r.Intn(len(corpus))]...)
		for changes := 1 + r.Intn(2); changes > 0 && len(tokens) > 0; changes-- {
			i := r.Intn(len(tokens))
			switch r.Intn(7) {
			case 0:
				tokens = append(tokens[:i:i], tokens[i+1:]...)
			case 1:
				tokens = append(tokens[:i:i], append([]string{tokens[i]}, tokens[i:]...)...)
			case 2:
				j := r.Intn(len(tokens))
				tokens[i], tokens[j] = tokens[j], tokens[i]
			case 3:
				tokens[i] = pool[r.Intn(len(pool))]
			case 4:
				// A name or value for another of the same look: most likely to stay a template.
				for tries := 0; tries < 200; tries++ {
					other := pool[r.Intn(len(pool))]
					if look(other) == look(tokens[i]) {
						tokens[i] = other
						break
					}
				}
			case 5:
				tokens = append(tokens[:i:i], append([]string{pool[r.Intn(len(pool))]}, tokens[i:]...)...)
			case 6:
				other := corpus[r.Intn(len(corpus))]
				tokens = append(tokens, other...)
			}
		}
		c := testCase{Name: fmt.Sprintf("mutant_%d", len(cases)+1), Template: strings.Join(tokens, "")}
		if len(c.Template) > 240 || seen[c.Template] || unsteady.MatchString(c.Template) {
			continue
		}
		seen[c.Template] = true
		first, second := c, c
		run(&first, app)
		run(&second, app)
		a, _ := json.Marshal(first)
		b, _ := json.Marshal(second)
		if len(a) < 1200 && string(a) == string(b) {
			cases = append(cases, first)
		}
	}
	return cases
}

// unsteady is what depends on chance, on the network, or costs seconds.
var unsteady = regexp.MustCompile(`rand|shuffle|uuid|gen[A-Z]|bcrypt|htpasswd|derive|encrypt|decrypt|HostByName|Cert|\d{6}|0x|ago|until|seq|repeat`)

func look(t string) byte {
	switch c := t[0]; {
	case c >= '0' && c <= '9':
		return '0'
	case c == '"' || c == '`':
		return '"'
	case c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
		return 'a'
	default:
		return c
	}
}
