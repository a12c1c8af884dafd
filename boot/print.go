package boot

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
)

// WriteText prints the plan for people.
func (p *Plan) WriteText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range p.Segments {
		fmt.Fprintf(t, "%#010x-%#010x\t%d KiB\t%s\t%s\t%s\n", s.GPA, s.End(), (s.Size+1023)/1024, s.Name, s.Why, s.Source)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, e := range p.E820 {
		if _, err := fmt.Fprintf(w, "e820 %#010x-%#010x %v\n", e.GPA, e.End(), e.Type); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "command line: %s\nenter by %v: %v\n", p.Cmdline, p.Protocol, p.Entry)
	return err
}

func (s Segment) String() string { return fmt.Sprintf("%s at %v from %v", s.Name, s.Range, s.Source) }

// String says where the bytes come from. It never shows them: a seed is a secret.
func (s Source) String() string {
	switch {
	case s.File != nil:
		return fmt.Sprintf("%s at %#x", s.File.Name(), s.Offset)
	case s.Data != nil:
		return "bytes"
	}
	return "zeros"
}

func (e Entry) String() string {
	text := fmt.Sprintf("%v, rip=%#x rsp=%#x", e.Mode, e.RIP, e.RSP)
	if e.Mode == Long64 {
		text += fmt.Sprintf(" rsi=%#x cr3=%#x", e.RSI, e.CR3)
	} else {
		text += fmt.Sprintf(" rbx=%#x", e.RBX)
	}
	return text + fmt.Sprintf(" cr0=%#x cr4=%#x efer=%#x cs=%#x ds=%#x tr=%#x gdt=%#x", e.CR0, e.CR4, e.EFER, e.Code.Index,
		e.Data.Index, e.Task.Index, e.GDT)
}

// MarshalJSON gives a segment's place and source, without the bytes.
func (s Segment) MarshalJSON() ([]byte, error) {
	out := struct {
		Name string `json:"name"`
		Why  string `json:"why,omitempty"`
		Range
		Source string `json:"source"` // file, bytes or zeros
		File   string `json:"file,omitempty"`
		Offset int64  `json:"offset,omitempty"`
	}{Name: s.Name, Why: s.Why, Range: s.Range}
	switch {
	case s.File != nil:
		out.Source, out.File, out.Offset = "file", s.File.Name(), s.Offset
	case s.Data != nil:
		out.Source = "bytes"
	default:
		out.Source = "zeros"
	}
	return json.Marshal(out)
}
