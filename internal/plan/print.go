package plan

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// WriteText prints the plan for people, two lines a step at most:
//
//	boot a microVM (31 steps)
//
//	guest memory
//	   4  KVM_SET_USER_MEMORY_REGION vm  slot=0 gpa=0x0 size=268435456
//	      RAM below the hole
func (p *Plan) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%d steps)\n", p.Name, p.Len())
	number := 0
	for _, phase := range p.Phases {
		if phase.Name != "" {
			fmt.Fprintf(&b, "\n%s\n", phase.Name)
		}
		for _, step := range phase.Steps {
			number++
			fmt.Fprintf(&b, "%4d  %s\n", number, step)
			if step.Why != "" {
				fmt.Fprintf(&b, "      %s\n", step.Why)
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// String is the request on one line: "op object  name=value ...".
func (s Step) String() string {
	var b strings.Builder
	b.WriteString(s.Op)
	if s.Object != "" {
		b.WriteString(" " + s.Object)
	}
	for i, a := range s.Args {
		if i == 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, " %s=%v", a.Name, a.Value)
	}
	return b.String()
}

// jsonStep is a step as programs read it. The arguments are a list, as their
// order is the request's own.
type jsonStep struct {
	Number int       `json:"number"`
	Phase  string    `json:"phase,omitempty"`
	Op     string    `json:"op"`
	Object string    `json:"object,omitempty"`
	Args   []jsonArg `json:"args,omitempty"`
	Why    string    `json:"why,omitempty"`
	Undone bool      `json:"undone"` // there is something to undo
}

type jsonArg struct {
	Name  string `json:"name"`
	Value any    `json:"value"`
}

// MarshalJSON prints the plan for programs.
func (p *Plan) MarshalJSON() ([]byte, error) {
	out := struct {
		Plan  string     `json:"plan"`
		Steps []jsonStep `json:"steps"`
	}{Plan: p.Name, Steps: []jsonStep{}}
	for _, phase := range p.Phases {
		for _, s := range phase.Steps {
			js := jsonStep{
				Number: len(out.Steps) + 1, Phase: phase.Name,
				Op: s.Op, Object: s.Object, Why: s.Why, Undone: s.Undo != nil,
			}
			for _, a := range s.Args {
				js.Args = append(js.Args, jsonArg(a))
			}
			out.Steps = append(out.Steps, js)
		}
	}
	return json.Marshal(out)
}
