package format

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/template"
	"text/template/parse"
)

// errName is in the errors for a name that rows do not have.
var errName = errors.New("no such name")

// checkNames refuses a template that names what rows do not have. Where the dot is something else, in a range, a with or
// another template, it does not look.
func checkNames(t *template.Template, heading Row) error {
	for _, name := range rootNames(t.Root) {
		if _, there := heading[name]; there || name == "Label" && heading[labelsName] != nil {
			continue
		}
		return fmt.Errorf("%w: .%s: want .%s", errName, name, strings.Join(slices.Sorted(maps.Keys(heading)), ", ."))
	}
	return nil
}

// rootNames are the names that a template looks up in what it is executed on.
func rootNames(n parse.Node) (names []string) {
	switch n := n.(type) {
	case *parse.ListNode:
		if n == nil {
			return nil
		}
		for _, n := range n.Nodes {
			names = append(names, rootNames(n)...)
		}
	case *parse.ActionNode:
		return rootNames(n.Pipe)
	case *parse.TemplateNode:
		return rootNames(n.Pipe)
	case *parse.IfNode:
		return slices.Concat(rootNames(n.Pipe), rootNames(n.List), rootNames(n.ElseList))
	case *parse.RangeNode:
		return slices.Concat(rootNames(n.Pipe), rootNames(n.ElseList))
	case *parse.WithNode:
		return slices.Concat(rootNames(n.Pipe), rootNames(n.ElseList))
	case *parse.PipeNode:
		if n == nil {
			return nil
		}
		for _, c := range n.Cmds {
			for _, arg := range c.Args {
				names = append(names, rootNames(arg)...)
			}
		}
	case *parse.ChainNode:
		return rootNames(n.Node)
	case *parse.FieldNode:
		return n.Ident[:1]
	case *parse.VariableNode:
		if n.Ident[0] == "$" && len(n.Ident) > 1 {
			return n.Ident[1:2]
		}
	}
	return names
}
