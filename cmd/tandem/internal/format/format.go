package format

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"text/template"
)

// Row is what a template sees of one thing.
type Row map[string]any

// Label is the value of one of a thing's labels: {{.Label "name"}}. In a heading it is the last part of the label's name.
func (r Row) Label(name string) (string, error) {
	switch labels := r[labelsName].(type) {
	case Labels:
		return labels[name], nil
	case string:
		return strings.NewReplacer("-", " ", "_", " ").Replace(name[strings.LastIndexByte(name, '.')+1:]), nil
	}
	return "", fmt.Errorf("no labels are known of it")
}

const labelsName = "Labels"

// Labels are a thing's. They are printed as a=b,c=d.
type Labels map[string]string

func (l Labels) String() string {
	var words []string
	for _, name := range slices.Sorted(maps.Keys(l)) {
		words = append(words, name+"="+l[name])
	}
	return strings.Join(words, ",")
}

// MarshalText has them printed so in JSON too.
func (l Labels) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// List prints rows. The zero value is for a verb to print as it does without a template.
type List struct {
	template *template.Template
	heading  Row // nil if none is printed
}

// Parse reads a --format of rows: a template, "table" and a template, "table" alone, which is the verb's own, or "json".
func Parse(text string, heading Row) (*List, error) {
	body, table := strings.CutPrefix(text, "table")
	if table && body != "" && body[0] != ' ' && body[0] != '{' && body[0] != '\\' {
		body, table = text, false // a word that begins so
	}
	if body = strings.TrimLeft(body, " "); body == "" {
		return &List{}, nil
	}
	if !table && body == "json" {
		body = "{{json .}}"
	}
	t, err := newTemplate(body)
	if err != nil {
		return nil, err
	}
	if err := checkNames(t, heading); err != nil {
		return nil, err
	}
	l := &List{template: t}
	if table {
		l.heading = heading
	}
	return l, nil
}

// Own tells whether the verb is to print as it does without a template.
func (l *List) Own() bool { return l.template == nil }

// Print writes a line for each row, in columns if it is a table.
func (l *List) Print(w io.Writer, rows []Row) error {
	if l.heading == nil {
		return execute(w, l.template, rows)
	}
	table := tabwriter.NewWriter(w, 0, 8, 3, ' ', 0)
	heading := template.Must(l.template.Clone()).Funcs(headingFunctions)
	if err := execute(table, heading, []Row{l.heading}); err != nil {
		return err
	}
	if err := execute(table, l.template, rows); err != nil {
		return err
	}
	return table.Flush()
}

func execute[T any](w io.Writer, t *template.Template, list []T) error {
	for _, v := range list {
		var line strings.Builder
		if err := t.Execute(&line, v); err != nil {
			return plainError(err)
		}
		if _, err := io.WriteString(w, line.String()+"\n"); err != nil {
			return err
		}
	}
	return nil
}

// escapes are what a template in a shell's single quotes cannot hold.
var escapes = strings.NewReplacer(`\t`, "\t", `\n`, "\n")

const templateName = "--format"

func newTemplate(text string) (*template.Template, error) {
	t, err := template.New(templateName).Option("missingkey=error").Funcs(functions).Parse(escapes.Replace(text))
	if err != nil {
		return nil, plainError(err)
	}
	return t, nil
}

// plainError leaves out what text/template says of itself.
func plainError(err error) error {
	text := strings.TrimPrefix(err.Error(), "template: "+templateName+":")
	return fmt.Errorf("line %s", strings.Replace(text, fmt.Sprintf("executing %q at ", templateName), "", 1))
}

// functions are docker's.
var functions = template.FuncMap{
	"json":     encode,
	"join":     strings.Join,
	"split":    strings.Split,
	"lower":    strings.ToLower,
	"upper":    strings.ToUpper,
	"title":    title,
	"pad":      pad,
	"truncate": truncate,
}

// headingFunctions are those that do something else to a heading: nothing.
var headingFunctions = template.FuncMap{
	"json":     func(v any) any { return v },
	"join":     func(v any, _ string) any { return v },
	"split":    func(v any, _ string) any { return v },
	"lower":    func(v any) any { return v },
	"upper":    func(v any) any { return v },
	"title":    func(v any) any { return v },
	"truncate": func(v any, _ int) any { return v },
}

func encode(v any) (string, error) {
	var text strings.Builder
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return strings.TrimSuffix(text.String(), "\n"), err
}

func title(text string) string {
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

// pad puts blanks around what is not empty.
func pad(text string, before, behind int) string {
	if text == "" {
		return text
	}
	return strings.Repeat(" ", before) + text + strings.Repeat(" ", behind)
}

func truncate(text string, length int) string {
	if runes := []rune(text); length >= 0 && len(runes) > length {
		return string(runes[:length])
	}
	return text
}
