package format

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/template"
)

// Document is what is known of one thing.
type Document struct {
	Docker any // a struct with docker's names
	Own    any // what the verb prints as JSON
}

// Documents prints documents.
type Documents struct {
	docker, own *template.Template // nil prints them as JSON
}

// ParseDocuments reads a --format of documents: a template, or "json".
func ParseDocuments(text string) (*Documents, error) {
	if strings.TrimSpace(text) == "json" {
		return &Documents{}, nil
	}
	t, err := newTemplate(text)
	if err != nil {
		return nil, err
	}
	own := template.Must(t.Clone())
	// A label, say, that a thing does not have is no error to docker.
	return &Documents{t.Option("missingkey=default"), own}, nil
}

// Print writes a line for each document, or all of them as JSON on one line. A template's names are docker's; one that has
// others is tried on the verb's own.
func (d *Documents) Print(w io.Writer, list []Document) error {
	if d.docker == nil {
		all := []any{}
		for _, v := range list {
			all = append(all, v.Docker)
		}
		text, err := encode(all)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(w, text)
		return err
	}
	for _, v := range list {
		var line bytes.Buffer
		if err := execute(&line, d.docker, []any{v.Docker}); err != nil {
			own, ownErr := generic(v.Own)
			if ownErr != nil {
				return ownErr
			}
			if execute(&line, d.own, []any{own}) != nil {
				return err
			}
		}
		if _, err := line.WriteTo(w); err != nil {
			return err
		}
	}
	return nil
}

// generic is a value as its JSON is read: names are those of the JSON, and numbers are written as there.
func generic(v any) (own any, err error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	err = d.Decode(&own)
	return own, err
}
