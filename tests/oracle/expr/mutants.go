package main

import (
	"math/rand"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// token is what mutants are made of: a name, a number, a text, an operator.
var token = regexp.MustCompile("\\s+|[A-Za-z_][A-Za-z0-9_]*|[0-9][0-9a-fA-FxobXOB_.]*|'[^']*'|\"[^\"]*\"|`[^`]*`|\\?\\.|\\?\\?|\\.\\.|[=!<>]=|\\*\\*|&&|\\|\\||.")

// mutants is the cases people wrote with a few tokens left out, doubled, exchanged or taken from another case: what is
// nearly right. SEED and MUTANTS in the environment give others. A row that the real one answers in two ways is left out.
func mutants(cases, fixtures string) []Row {
	number := func(name string, or int) int {
		if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
			return n
		}
		return or
	}
	r := rand.New(rand.NewSource(int64(number("SEED", 1))))
	names, err := filepath.Glob(filepath.Join(cases, "*.txt"))
	check(err)
	var corpus [][]string
	var pool []string
	for _, name := range names {
		text, err := os.ReadFile(name)
		check(err)
		for _, row := range read(string(text)) {
			if len(row.Expr) < 200 {
				tokens := token.FindAllString(row.Expr, -1)
				corpus = append(corpus, tokens)
				pool = append(pool, tokens...)
			}
		}
	}
	var rows []Row
	seen := map[string]bool{}
	envs := []string{"full", "full", "full", "min", "none"}
	for count := number("MUTANTS", 2500); len(rows) < count; {
		tokens := append([]string{}, corpus[r.Intn(len(corpus))]...)
		for changes := 1 + r.Intn(3); changes > 0 && len(tokens) > 0; changes-- {
			i := r.Intn(len(tokens))
			switch r.Intn(6) {
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
				tokens = append(tokens[:i:i], append([]string{pool[r.Intn(len(pool))]}, tokens[i:]...)...)
			case 5:
				other := corpus[r.Intn(len(corpus))]
				j := r.Intn(len(other) + 1)
				tokens = append(tokens[:i:i], other[j:]...)
			}
		}
		row := Row{Expr: strings.Join(tokens, ""), Env: envs[r.Intn(len(envs))]}
		if len(row.Expr) > 240 || seen[row.Expr] || strings.Contains(row.Expr, "now(") {
			continue
		}
		seen[row.Expr] = true
		first := judge(row, fixtures)
		// Functions print as their addresses. After a complaint about arguments the real one sometimes reads on and tells
		// of an unreadable token behind it instead.
		if strings.Contains(first.Text, ":0x") || strings.HasPrefix(first.Said, "bad number") && strings.Contains(row.Expr, "(,") {
			continue
		}
		if len(first.Text) < 400 && first == judge(row, fixtures) && first == judge(row, fixtures) {
			rows = append(rows, row)
		}
	}
	return rows
}
