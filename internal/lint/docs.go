package lint

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"
)

// PackageDoc is the comment that explains a package: the longest of its files, since generated ones have a line too.
func PackageDoc(sources []Source) string {
	var doc string
	for _, s := range sources {
		if text := s.Syntax.Doc.Text(); len(text) > len(doc) && !strings.HasPrefix(text, "Code generated") {
			doc = text
		}
	}
	return doc
}

// CheckDoc names what is wrong with a package's comment.
func CheckDoc(p Package, doc string) []string {
	doc, _, _ = strings.Cut(doc, "\n")
	want := "Package " + p.Name + " "
	switch first, _ := utf8.DecodeRuneInString(doc); {
	case doc == "":
		return []string{p.ImportPath + ": no package comment"}
	case p.Name == "main" && !unicode.IsUpper(first):
		return []string{fmt.Sprintf("%s: the comment of a command begins with its name, not %q", p.ImportPath, doc)}
	case p.Name != "main" && !strings.HasPrefix(doc, want):
		return []string{fmt.Sprintf("%s: package comment begins %q, want %q", p.ImportPath, doc, want)}
	}
	return nil
}

// CheckLesson wants a README in each folder of examples that holds a program.
func CheckLesson(p Package) []string {
	if top(p.Folder()) != "examples" || p.Name != "main" {
		return nil
	}
	readme, err := os.ReadFile(filepath.Join(p.Dir, "README.md"))
	if err != nil {
		return []string{p.ImportPath + ": a lesson without a README.md"}
	}
	if !strings.HasPrefix(string(readme), "# ") {
		return []string{p.ImportPath + ": README.md does not begin with a title"}
	}
	return nil
}
