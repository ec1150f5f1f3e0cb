// Writes what the Go libraries say about generated versions, constraints, globs and references, as the tables that
// the tests of core/image read. Run by hand after changing a generator; ordinary tests never run it:
//
//	go run . ../../fixtures
package main

import (
	"bufio"
	_ "crypto/sha256" // digests of a kind count only if the kind is linked in
	_ "crypto/sha512"
	"fmt"
	"log"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/Masterminds/semver/v3"
	"github.com/distribution/reference"
)

var dice = rand.New(rand.NewSource(20260501))

func pick(words ...string) string { return words[dice.Intn(len(words))] }

func table(path, head string, rows func(row func(cells ...string))) {
	file, err := os.Create(path)
	if err != nil {
		log.Fatal(err)
	}
	out := bufio.NewWriter(file)
	fmt.Fprintf(out, "# %s\n", head)
	seen := map[string]bool{}
	rows(func(cells ...string) {
		line := strings.Join(cells, "\t")
		if !seen[line] && utf8.ValidString(line) {
			seen[line] = true
			fmt.Fprintln(out, line)
		}
	})
	if err := out.Flush(); err != nil {
		log.Fatal(err)
	}
	if err := file.Close(); err != nil {
		log.Fatal(err)
	}
}

func number() string {
	return pick("0", "0", "1", "1", "2", "3", "9", "10", "11", "20", "01", "007", "18446744073709551615")
}

func prerelease() string {
	parts := []string{}
	for i := 0; i <= dice.Intn(3); i++ {
		parts = append(parts, pick("0", "1", "2", "10", "alpha", "beta", "rc", "rc1", "dev", "alpine3", "-", "0a", "a-b", "Z", "99999999999999999999"))
	}
	return strings.Join(parts, ".")
}

// A version that parses.
func version() string {
	text := pick("", "", "", "v") + number()
	for i := 0; i < dice.Intn(3); i++ {
		text += "." + number()
	}
	if dice.Intn(3) == 0 {
		text += "-" + prerelease()
	}
	if dice.Intn(9) == 0 {
		text += "+" + pick("a", "1", "001", "b.1", "x-y")
	}
	return text
}

// Something like a version, often broken.
func nearVersion() string {
	text := version()
	for i := 0; i < dice.Intn(3); i++ {
		at := dice.Intn(len(text) + 1)
		switch dice.Intn(3) {
		case 0:
			text = text[:at] + pick(".", "-", "+", "_", "v", "0", "x", " ", "a", "é") + text[at:]
		case 1:
			if at < len(text) {
				text = text[:at] + text[at+1:]
			}
		default:
			text = text[:at] + pick(".1", "-01", "-rc.01", "+", "-", ".") + text[at:]
		}
	}
	return text
}

func bound() string {
	text := pick("", "", "", "", "v")
	wild := func() string {
		return pick("0", "0", "1", "1", "1", "2", "2", "3", "11", "20", "01", "x", "X", "*")
	}
	text += wild()
	for i := 0; i < dice.Intn(4) && i < 2; i++ {
		text += "." + wild()
	}
	if dice.Intn(4) == 0 {
		text += "-" + pick("0", "0", "1", "alpha", "rc.1", "alpine", "dev", "beta.2")
	}
	if dice.Intn(20) == 0 {
		text += "+" + pick("a", "build.1")
	}
	return text
}

func comparator() string {
	return pick("", "", "", "=", "!=", ">", "<", ">=", "<=", "=>", "=<", "~", "~>", "^", "^", "~") + pick("", "", "", " ") + bound()
}

func constraint() string {
	groups := []string{}
	for i := 0; i <= dice.Intn(5)/3; i++ {
		group := comparator()
		switch dice.Intn(6) {
		case 0:
			group = bound() + " - " + bound()
		case 1:
			group += pick(" ", ", ", ",", " , ", "  ") + comparator()
		case 2:
			group += pick(" ", ", ") + comparator() + pick(" ", ",") + comparator()
		}
		groups = append(groups, group)
	}
	text := strings.Join(groups, pick(" || ", "||", "|| "))
	if dice.Intn(12) == 0 {
		at := dice.Intn(len(text) + 1)
		text = text[:at] + pick("=", " ", ",", "|", "||", ">", "!", "-", " - ", "x", "foo", ".", "\t", "é") + text[at:]
	}
	return text
}

func constraints(path string) {
	versions := []string{}
	for _, text := range strings.Fields(`0.0.0 0.0.1 0.0.3 0.0.4 0.0.3-alpha 0.1.0 0.2.3 0.2.9 0.3.0 0.3.0-rc.1 1.0.0-0 1.0.0-alpha
		1.0.0-beta.2 1.0.0-rc.1 1.0.0 1.0.1 1.1.9 1.2.0-alpine 1.2.0 1.2.3-alpine 1.2.3 1.2.3+build 1.2.4-alpine 1.2.9 1.2.10-rc.1
		1.3.0 1.3.0-dev 1.11.0 1.20.0-alpine 1.20.5 2.0.0-0 2.0.0-rc.1 2.0.0 2.0.1 2.1.0 2.2.2 2.3.5 3.0.0 3.1.0-beta.2 3.1.0 3.11.20
		9 10.1 11.0.0 11.0.5 11.1.1 11.2.0 11.2.0-alpine 12.0.0 20.0.0 20.3.1 v2.5 20240131 20240131-abc 2024-01-05`) {
		versions = append(versions, text)
	}
	table(path, "first row: versions; other rows: constraint, then 1 or 0 for each version, or invalid (Masterminds/semver v3.4.0)", func(row func(...string)) {
		row(versions...)
		for i := 0; i < 900; i++ {
			text := constraint()
			parsed, err := semver.NewConstraint(text)
			if err != nil {
				row(text, "invalid")
				continue
			}
			matches := ""
			for _, v := range versions {
				if parsed.Check(semver.MustParse(v)) {
					matches += "1"
				} else {
					matches += "0"
				}
			}
			row(text, matches)
		}
	})
}

func versions(path string) {
	table(path, "text, then invalid or the three numbers and the pre-release (Masterminds/semver v3.4.0)", func(row func(...string)) {
		for i := 0; i < 1500; i++ {
			text := nearVersion()
			if strings.ContainsAny(text, "\t\n") {
				continue
			}
			v, err := semver.NewVersion(text)
			if err != nil {
				row(text, "invalid")
				continue
			}
			row(text, fmt.Sprintf("%d.%d.%d", v.Major(), v.Minor(), v.Patch()), v.Prerelease())
		}
	})
}

func order(path string) {
	table(path, "two versions and their precedence, -1, 0 or 1 (Masterminds/semver v3.4.0)", func(row func(...string)) {
		for len := 0; len < 1500; len++ {
			a := version()
			b := version()
			if dice.Intn(2) == 0 {
				core := pick("1", "1.2", "1.2.3", "v1")
				a = core + "-" + prerelease()
				b = core + "-" + prerelease()
			}
			x, errA := semver.NewVersion(a)
			y, errB := semver.NewVersion(b)
			if errA != nil || errB != nil {
				continue
			}
			row(a, b, fmt.Sprint(x.Compare(y)))
		}
	})
}

func globs(path string) {
	text := func() string {
		t := ""
		for i := 0; i < dice.Intn(6); i++ {
			t += pick("a", "b", "c", "-", "1", "é", "/", "*", "]", "^", "rc", "1.2")
		}
		return t
	}
	table(path, "pattern, text, and match, differ or malformed (Go path/filepath.Match)", func(row func(...string)) {
		for i := 0; i < 2500; i++ {
			pattern := ""
			for j := 0; j <= dice.Intn(5); j++ {
				pattern += pick("*", "*", "?", "a", "b", "-", "rc", "1.2", "[a-c]", "[^a]", "[^a-b1]", "\\*", "\\", "[", "]", "[]a]", "[a", "[-a]", "[a-]", "[\\]-a]", "[é]", "[/a]", "/")
			}
			t := text()
			if dice.Intn(2) == 0 {
				t = strings.NewReplacer("*", text(), "?", "b", "[a-c]", "b", "[^a]", "c", "\\", "").Replace(pattern)
			}
			ok, err := filepath.Match(pattern, t)
			switch {
			case err != nil:
				row(pattern, t, "malformed")
			case ok:
				row(pattern, t, "match")
			default:
				row(pattern, t, "differ")
			}
		}
	})
}

func references(path string) {
	segment := func() string {
		if dice.Intn(5) > 0 {
			return pick("nginx", "app", "my-app", "a_b", "a__b", "a.b", "org", "library", "x1", "a--b", "web")
		}
		return pick("nginx", "app", "my-app", "a_b", "a__b", "a.b", "org", "library", "x1", "Org", "a--b", "a..b", "-a", "a_", "test image", "web")
	}
	host := func() string {
		return pick("", "", "", "docker.io/", "index.docker.io/", "registry-1.docker.io/", "ghcr.io/", "localhost/", "localhost:5000/",
			"registry:5000/", "host.io:443/", "GHCR.io/", "my_host.io/", "[::1]:5000/", "127.0.0.1/", "a.b-c.d/", "docker.io.evil/", "library/", "-x.io/")
	}
	digest := "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
	table(path, "reference, then invalid or domain, path, tag, digest of ParseNormalizedNamed (distribution/reference v0.6.0)", func(row func(...string)) {
		for i := 0; i < 1400; i++ {
			text := host() + segment()
			for j := 0; j < dice.Intn(3); j++ {
				text += "/" + segment()
			}
			text += pick("", "", ":1", ":1", ":1.2.3", ":1.2.3", ":latest", ":v1-rc.1", ":_x", ":-x", ":~1", ":1.2+b", ":", ":"+strings.Repeat("a", 128), ":"+strings.Repeat("a", 129))
			text += pick("", "", "", "", "", "", "", "@sha256:"+digest, "@sha256:"+digest, "@sha256:abcde", "@sha512:"+digest, "@sha512:"+digest+digest, "@md5:"+digest, "@sha256:"+strings.ToUpper(digest))
			if dice.Intn(60) == 0 {
				text = digest
			}
			if dice.Intn(60) == 0 {
				text = host() + strings.Repeat(pick("a", "ab/"), 130) + "c"
			}
			named, err := reference.ParseNormalizedNamed(text)
			if err != nil {
				row(text, "invalid")
				continue
			}
			tag, sum := "", ""
			if tagged, ok := named.(reference.Tagged); ok {
				tag = tagged.Tag()
			}
			if digested, ok := named.(reference.Digested); ok {
				sum = digested.Digest().String()
			}
			row(text, reference.Domain(named), reference.Path(named), tag, sum)
		}
	})
}

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: go run . <fixtures folder>")
	}
	out := os.Args[1]
	constraints(filepath.Join(out, "version", "generated_constraints.tsv"))
	versions(filepath.Join(out, "version", "generated_versions.tsv"))
	order(filepath.Join(out, "version", "generated_order.tsv"))
	globs(filepath.Join(out, "selection", "generated_globs.tsv"))
	references(filepath.Join(out, "reference", "generated.tsv"))
}
