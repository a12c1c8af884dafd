package lint

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strings"
)

// maxLines is more than a file that does one thing has.
const maxLines = 700

// Source is one Go file.
type Source struct {
	Path   string // from the root of the tree
	Lines  int
	Syntax *ast.File

	positions *token.FileSet
}

// ReadSource parses a file. The path in messages is name.
func ReadSource(path, name string) (Source, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Source{}, err
	}
	positions := token.NewFileSet()
	syntax, err := parser.ParseFile(positions, name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return Source{}, fmt.Errorf("lint: %w", err)
	}
	return Source{Path: name, Lines: bytes.Count(text, []byte{'\n'}), Syntax: syntax, positions: positions}, nil
}

// CheckSource names what breaks a rule in one file.
func CheckSource(s Source) []string {
	if ast.IsGenerated(s.Syntax) {
		return nil
	}
	var wrong []string
	if s.Lines > maxLines {
		wrong = append(wrong, fmt.Sprintf("%s: %d lines, no file has more than %d", s.Path, s.Lines, maxLines))
	}
	isTest := strings.HasSuffix(s.Path, "_test.go")
	for _, spec := range s.Syntax.Imports {
		switch spec.Path.Value {
		case `"C"`:
			wrong = append(wrong, s.at(spec)+": cgo, and tandem is a static binary")
		case `"unsafe"`:
			if !isTest && !strings.HasSuffix(strings.TrimSuffix(s.Path, "_amd64.go"), "_unsafe") &&
				!strings.HasSuffix(s.Path, "_unsafe.go") {
				wrong = append(wrong, s.at(spec)+": unsafe code belongs into a file named *_unsafe.go")
			}
		}
	}
	if !strings.HasPrefix(s.Path, "internal/testenv/") {
		wrong = append(wrong, checkSkips(s)...)
	}
	return wrong
}

func (s Source) at(n ast.Node) string { return s.positions.Position(n.Pos()).String() }

// checkSkips finds calls of Skip, Skipf and SkipNow on a parameter that is a test, benchmark or fuzz target.
func checkSkips(s Source) []string {
	var wrong []string
	var visit func(n ast.Node, tests []string)
	visit = func(n ast.Node, tests []string) {
		ast.Inspect(n, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if n.Body != nil {
					visit(n.Body, testParameters(n.Type))
				}
				return false
			case *ast.FuncLit:
				visit(n.Body, append(testParameters(n.Type), tests...))
				return false
			case *ast.CallExpr:
				if isSkip(n, tests) {
					wrong = append(wrong, s.at(n)+": a skip that names no need, use testenv.Need")
				}
			}
			return true
		})
	}
	visit(s.Syntax, nil)
	return wrong
}

// testParameters names the parameters of the types *testing.T, B, F and testing.TB.
func testParameters(f *ast.FuncType) []string {
	var names []string
	for _, field := range f.Params.List {
		kind := field.Type
		if star, ok := kind.(*ast.StarExpr); ok {
			kind = star.X
		}
		selector, ok := kind.(*ast.SelectorExpr)
		if !ok {
			continue
		}
		if of, ok := selector.X.(*ast.Ident); ok && of.Name == "testing" {
			for _, name := range field.Names {
				names = append(names, name.Name)
			}
		}
	}
	return names
}

func isSkip(call *ast.CallExpr, tests []string) bool {
	selector, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	of, ok := selector.X.(*ast.Ident)
	if !ok {
		return false
	}
	switch selector.Sel.Name {
	case "Skip", "Skipf", "SkipNow":
		for _, name := range tests {
			if name == of.Name {
				return true
			}
		}
	}
	return false
}
