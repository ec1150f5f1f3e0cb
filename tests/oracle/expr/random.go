package main

import (
	"fmt"
	"math/rand"
	"os"
	"strconv"
	"strings"
)

// random is expressions grown by chance, always the same ones: SEED and COUNT in the environment give others.
func random() []Row {
	number := func(name string, or int) int {
		if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
			return n
		}
		return or
	}
	g := &grower{rand.New(rand.NewSource(int64(number("SEED", 1)))), 0}
	var rows []Row
	seen := map[string]bool{}
	envs := []string{"full", "full", "full", "min", "none"}
	for count := number("COUNT", 800); len(rows) < count; {
		source := g.any(1 + g.Intn(3))
		if len(source) > 160 || seen[source] {
			continue
		}
		seen[source] = true
		rows = append(rows, Row{Expr: source, Env: envs[g.Intn(len(envs))]})
	}
	return rows
}

type grower struct {
	*rand.Rand
	// How many predicates are around.
	inside int
}

func (g *grower) pick(from ...string) string { return from[g.Intn(len(from))] }

// fill puts grown parts into a shape: N a number, S a text, B a boolean, L a list, M a map, T a time, D a span, A
// anything, P a predicate, V the body of a map or the like.
func (g *grower) fill(depth int, shape string) string {
	var out strings.Builder
	for i := 0; i < len(shape); i++ {
		c := shape[i]
		if c != '%' {
			out.WriteByte(c)
			continue
		}
		i++
		switch shape[i] {
		case '%':
			out.WriteByte('%')
		case 'N':
			out.WriteString(g.number(depth - 1))
		case 'S':
			out.WriteString(g.text(depth - 1))
		case 'B':
			out.WriteString(g.boolean(depth - 1))
		case 'L':
			out.WriteString(g.list(depth - 1))
		case 'M':
			out.WriteString(g.mapping(depth - 1))
		case 'T':
			out.WriteString(g.time(depth - 1))
		case 'D':
			out.WriteString(g.span(depth - 1))
		case 'A':
			out.WriteString(g.any(depth - 1))
		case 'P', 'V':
			g.inside++
			body := ""
			if shape[i] == 'P' {
				body = g.boolean(depth - 1)
			} else {
				body = g.any(depth - 1)
			}
			g.inside--
			if g.Intn(2) == 0 {
				body = "{" + body + "}"
			}
			out.WriteString(body)
		default:
			panic(shape)
		}
	}
	return out.String()
}

func (g *grower) item() string {
	return g.pick("#", ".name", ".n", ".ok", ".tags", ".nope", "#index", ".tags?.[0]", ".status", ".health?.status", ".type")
}

func (g *grower) any(depth int) string {
	// Now and then something of another kind than is expected.
	if g.inside > 0 && g.Intn(4) == 0 {
		return g.item()
	}
	switch g.Intn(9) {
	case 0:
		return g.number(depth)
	case 1:
		return g.text(depth)
	case 2:
		return g.list(depth)
	case 3:
		return g.mapping(depth)
	case 4:
		return g.time(depth)
	case 5:
		return g.span(depth)
	case 6:
		return g.pick("nil", "app.nope", "v.nil", "app.status?.operationState?.phase", "app.status.operationState", "unknown", "secrets.k", "v.bytes", "b'ab'", "context.nope")
	default:
		return g.boolean(depth)
	}
}

func (g *grower) odd(depth int) bool { return depth > 0 && g.Intn(14) == 0 }

func (g *grower) number(depth int) string {
	if g.odd(depth) {
		return g.any(depth - 1)
	}
	if depth <= 0 || g.Intn(4) == 0 {
		if g.inside > 0 && g.Intn(3) == 0 {
			return g.pick("#", ".n", "#index", "#acc", "len(#)")
		}
		return g.pick("0", "1", "2", "-1", "3", "10", "1.5", "2.0", "0.5", "v.i", "v.j", "v.k", "v.f", "v.g", "app.metadata.generation", "app.spec.ratio", "app.status.operationState.retryCount")
	}
	return g.fill(depth, g.pick(
		"%N + %N", "%N - %N", "%N * %N", "%N / %N", "%N %% %N", "(%N + %N)", "-%N", "len(%L)", "len(%S)", "len(%A)", "len(%M)", "abs(%N)", "int(%N)", "int(%S)", "float(%N)", "round(%N)",
		"floor(%N)", "ceil(%N)", "max(%N, %N)", "min(%L)", "max(%L, %N)", "mean(%L)", "median(%L)", "sum(%L)", "sum(%L, %V)", "count(%L, %P)", "indexOf(%S, %S)", "findIndex(%L, %P)",
		"%L[%N]", "%L[0]", "%L[-1]", "bitand(%N, %N)", "bitshl(%N, 2)", "%T.Unix()", "%T.Year()", "%D.Minutes()", "%B ? %N : %N", "%N ?? %N", "reduce(%L, # + #acc)", "reduce(%L, #acc + %N, 0)",
		"first(%L)", "last(%L)", "get(%L, %N)", "v.m.a", "get(%M, 'a')", "let x = %N; x + %N", "%L | count(%P)", "filter(%L, %P)[0]", "len(filter(%L, %P))", "find(%L, %P)", "int(%T.Month())",
		"fn.Sum(%N, %N)", "fn.Any(%N)", "fn.Big(%N)", "if %B { %N } else { %N }", "sum([%A, %A])", "%S | len()",
	))
}

func (g *grower) text(depth int) string {
	if g.odd(depth) {
		return g.any(depth - 1)
	}
	if depth <= 0 || g.Intn(4) == 0 {
		if g.inside > 0 && g.Intn(3) == 0 {
			return g.pick("#", ".name", ".type", ".status", "string(#)")
		}
		return g.pick("'a'", "''", "'text'", "'10'", "\"b\"", "'a,b,c'", "`x`", "v.s", "v.n", "v.e", "app.metadata.name", "app.status.health.status", "app.status?.health?.status", "context.argocdUrl", "'é'", "app.spec.project")
	}
	return g.fill(depth, g.pick(
		"%S + %S", "upper(%S)", "lower(%S)", "trim(%S)", "trim(%S, %S)", "trimPrefix(%S, %S)", "trimSuffix(%S, %S)", "replace(%S, %S, %S)", "replace(%S, %S, %S, %N)", "repeat(%S, 2)", "join(%L, %S)",
		"join(split(%S, %S), '-')", "string(%A)", "toJSON(%A)", "type(%A)", "%S[%N:]", "%S[:%N]", "%S[0:2]", "%S ?? %S", "%B ? %S : %S", "toBase64(%S)", "fromBase64(toBase64(%S))", "%T.Format('2006-01-02')",
		"%T.Weekday().String()", "%D.String()", "strings.ToUpper(%S)", "strings.ReplaceAll(%S, %S, %S)", "%M.b", "%M['a']", "let t = %S; t + t", "%S | upper() | trim()", "first(%L)", "find(%L, %P).name",
		"find(%L, %P)?.name", "map(%L, %V) | join()", "fn.Two(%S, %N)", "sort(keys(%M))[0]", "reduce(%L, #acc + string(#), '')", "split(%S, %S)[0]", "%S ?: %S",
	))
}

func (g *grower) boolean(depth int) string {
	if g.odd(depth) {
		return g.any(depth - 1)
	}
	if depth <= 0 || g.Intn(6) == 0 {
		if g.inside > 0 && g.Intn(2) == 0 {
			return g.pick(".ok", "# == 1", ".n > 1", ".name == 'db'", "#", "# != nil", "#index > 0", ".x.y", "true")
		}
		return g.pick("true", "false", "v.t", "v.u", "app.spec.syncPolicy.automated.prune", "app.nope")
	}
	return g.fill(depth, g.pick(
		"%A == %A", "%A != %A", "%N == %N", "%S == %S", "%N < %N", "%N >= %N", "%S > %S", "%N < %N < %N", "%T > %T", "%D <= %D", "%B and %B", "%B or %B", "%B && %B", "%B || %B", "not %B", "!%B", "not (%A)", "%A in %L",
		"%A not in %L", "%S in %M", "%A in %A", "%S contains %S", "%S not contains %S", "%S startsWith %S", "%S endsWith %S", "%S matches %S", "%S matches '^[a-z]+$'", "any(%L, %P)", "all(%L, %P)", "none(%L, %P)", "one(%L, %P)",
		"any(%L, %P) or any(%L, %P)", "hasPrefix(%S, %S)", "%T.Before(%T)", "%T.IsZero()", "%A == nil", "%A ?? %B", "%B ? %B : %B", "(%B)", "count(%L, %P) > %N", "len(filter(%L, %P)) >= 1", "%B == %B", "%L == %L", "%M == %M",
		"%L contains %S", "let b = %B; b or %B", "%S in ['a', 'text', 'Healthy']", "%N in [1, 2, 3]", "%N in 1..3", "fn.Not(%B)", "true and %A", "%A and false", "%A or false", "%L | any(%P)",
	))
}

func (g *grower) list(depth int) string {
	if g.odd(depth) {
		return g.any(depth - 1)
	}
	if depth <= 0 || g.Intn(4) == 0 {
		if g.inside > 0 && g.Intn(3) == 0 {
			return g.pick("#", ".tags", ".tags ?? []")
		}
		return g.pick("[]", "[1, 2, 3]", "['a', 'b']", "[1, 'a', nil]", "v.list", "v.nums", "v.texts", "v.ints", "v.none", "v.nested", "v.objs", "app.status.resources", "app.status?.conditions ?? []", "app.status.summary.images", "1..3", "v.bytes")
	}
	return g.fill(depth, g.pick(
		"[%A, %A]", "[%N, %N, %N]", "[%S, %S]", "[%A]", "%N..%N", "filter(%L, %P)", "map(%L, %V)", "map(filter(%L, %P), %V)", "filter(filter(%L, %P), %P)", "sort(%L)", "sort(%L, 'desc')", "sortBy(%L, %V)", "sortBy(%L, %V, 'desc')",
		"reverse(%L)", "uniq(%L)", "concat(%L, %L)", "flatten(%L)", "take(%L, %N)", "%L[%N:]", "%L[:%N]", "split(%S, %S)", "sort(keys(%M))", "sort(values(%M))", "fromJSON(toJSON(%L))", "%L ?? %L", "%B ? %L : %L", "%L | filter(%P) | map(%V)",
		"groupBy(%L, .n)[%A]", "map(%L, {{a: %A}})", "map(%L, {[#, %A]})", "let l = %L; concat(l, l)", "splitAfter(%S, %S)", "toPairs({a: %A})", "map(%L, map(%L, %V))",
	))
}

func (g *grower) mapping(depth int) string {
	if g.odd(depth) {
		return g.any(depth - 1)
	}
	if depth <= 0 || g.Intn(3) == 0 {
		return g.pick("{}", "{a: 1}", "{a: 'x', b: nil}", "v.m", "v.tm", "app.metadata.labels", "app.status", "app.spec", "secrets", "context", "v.objs[0]")
	}
	return g.fill(depth, g.pick("{a: %A}", "{a: %A, b: %A}", "{'a': %N}", "{(%S): %A}", "groupBy(v.objs, .n)", "fromPairs([['a', %A]])", "fromJSON(toJSON(%M))", "find(%L, %P)", "%M ?? {}", "%B ? %M : %M", "%L[%N]", "fn.Any(%M)"))
}

func (g *grower) time(depth int) string {
	if g.odd(depth) {
		return g.any(depth - 1)
	}
	if depth <= 0 || g.Intn(3) == 0 {
		return g.pick("v.time", "time.Now()", "time.Parse('2026-05-01T11:00:00Z')", "date('2026-05-01')", "time.Parse(app.status.operationState.startedAt)", "date('2026-05-01 10:00:00')")
	}
	return g.fill(depth, g.pick("%T + %D", "%T - %D", "%D + %T", "%T.Add(%D)", "%T.AddDate(0, 1, 0)", "%T.UTC()", "%T.Truncate(%D)", "date(%S)", "time.Parse(%S)", "%B ? %T : %T", "%T ?? %T", "fn.Any(%T)", "%T.In(timezone('Asia/Tokyo'))"))
}

func (g *grower) span(depth int) string {
	if g.odd(depth) {
		return g.any(depth - 1)
	}
	if depth <= 0 || g.Intn(3) == 0 {
		return g.pick("v.dur", "time.Minute", "time.Hour", "duration('90s')", "time.Second")
	}
	return g.fill(depth, g.pick("%N * time.Minute", "%D * %N", "%D + %D", "%D - %D", "%T - %T", "%T.Sub(%T)", "%D.Round(%D)", "%D.Truncate(%D)", "duration(%S)", "%D * %D", "%B ? %D : %D", "fn.Any(%D)", fmt.Sprintf("duration('%dm')", g.Intn(100))))
}
