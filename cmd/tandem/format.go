package main

import (
	"io"
	"time"

	"github.com/spf13/pflag"

	"tandem/cmd/tandem/internal/format"
)

// formatFlag is --format of a verb that prints a list.
type formatFlag struct {
	text    string
	heading format.Row
	usual   string // the template in the place of none; if it is empty too, the verb prints in its own way
}

func (f *formatFlag) register(flags *pflag.FlagSet, names string) {
	flags.StringVar(&f.text, "format", "", "print by a Go `TEMPLATE`, or \"table TEMPLATE\", or \"json\", with docker's names: "+names)
}

// parse refuses a template before anything is done.
func (f *formatFlag) parse() (*format.List, error) {
	l, err := format.Parse(f.text, f.heading)
	if err == nil && l.Own() && f.usual != "" {
		l, err = format.Parse(f.usual, f.heading)
	}
	if err != nil {
		return nil, flagError("format", f.text, err)
	}
	return l, nil
}

// documentsFlag is --format of a verb that inspects.
type documentsFlag struct{ text string }

func (f *documentsFlag) register(flags *pflag.FlagSet, short string) {
	flags.StringVarP(&f.text, "format", short, "", "print by a Go `TEMPLATE`, or \"json\", with docker's names")
}

// parse gives nil where there is none, for the verb to print in its own way.
func (f *documentsFlag) parse() (*format.Documents, error) {
	if f.text == "" {
		return nil, nil
	}
	d, err := format.ParseDocuments(f.text)
	if err != nil {
		return nil, flagError("format", f.text, err)
	}
	return d, nil
}

func (f *documentsFlag) print(w io.Writer, d *format.Documents, list []format.Document) error {
	if err := d.Print(w, list); err != nil {
		return flagError("format", f.text, err)
	}
	return nil
}

// formatTime is a time as docker's lists have it.
func formatTime(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05 -0700 MST") }
