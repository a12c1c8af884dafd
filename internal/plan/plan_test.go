package plan

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

var errBroken = errors.New("broken")

// recorded makes a step that writes down what is done to it.
func recorded(log *[]string, name string, do, undo error) Step {
	return Step{
		Op: name, Object: "thing",
		Do:   func() error { *log = append(*log, "do "+name); return do },
		Undo: func() error { *log = append(*log, "undo "+name); return undo },
	}
}

func TestRunAndUndo(t *testing.T) {
	var log []string
	p := New("test")
	p.Phase("first")
	p.Add(recorded(&log, "a", nil, nil), Step{Op: "told only"})
	p.Phase("second")
	p.Add(recorded(&log, "b", nil, nil))
	done, err := p.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"do a", "do b"}; !slices.Equal(log, want) {
		t.Errorf("Run: %v, want %v", log, want)
	}
	log = nil
	for range 2 { // the second does nothing
		if err := done.Undo(); err != nil {
			t.Error(err)
		}
	}
	if want := []string{"undo b", "undo a"}; !slices.Equal(log, want) {
		t.Errorf("Undo: %v, want %v", log, want)
	}
}

func TestFailureUndoes(t *testing.T) {
	var log []string
	p := New("test")
	undoFails := errors.New("undo fails")
	p.Add(recorded(&log, "a", nil, undoFails), recorded(&log, "b", nil, nil), recorded(&log, "c", errBroken, nil), recorded(&log, "d", nil, nil))
	done, err := p.Run(t.Context())
	if done != nil {
		t.Error("a failed Run gives something to undo")
	}
	if want := []string{"do a", "do b", "do c", "undo b", "undo a"}; !slices.Equal(log, want) {
		t.Errorf("Run: %v, want %v", log, want)
	}
	var step *StepError
	if !errors.As(err, &step) || step.Number != 3 || step.Op != "c" {
		t.Errorf("error names %+v, want step 3, c", step)
	}
	if !errors.Is(err, errBroken) || !errors.Is(err, undoFails) {
		t.Errorf("error = %v, want both causes", err)
	}
	if want := "test: step 3: c thing: broken\ntest: step 1: undo a thing: undo fails"; err.Error() != want {
		t.Errorf("error = %q, want %q", err, want)
	}
}

func TestContextEndsRun(t *testing.T) {
	var log []string
	ctx, cancel := context.WithCancelCause(t.Context())
	p := New("test")
	p.Add(recorded(&log, "a", nil, nil), Step{Op: "cancel", Do: func() error { cancel(errBroken); return nil }}, recorded(&log, "b", nil, nil))
	if _, err := p.Run(ctx); !errors.Is(err, errBroken) {
		t.Errorf("Run = %v, want the context's cause", err)
	}
	if want := []string{"do a", "undo a"}; !slices.Equal(log, want) {
		t.Errorf("Run: %v, want %v", log, want)
	}
}

func TestObserve(t *testing.T) {
	p := New("test")
	p.Add(Step{Op: "a"}, Step{Op: "b", Do: func() error { return errBroken }}, Step{Op: "c"})
	var seen []string
	p.Observe = func(s *Step) { seen = append(seen, s.Op) }
	_, _ = p.Run(t.Context())
	if want := []string{"a", "b"}; !slices.Equal(seen, want) {
		t.Errorf("observed %v, want %v", seen, want)
	}
}

// example is a plan that could never be run here.
func example() *Plan {
	p := New("set up vm")
	p.Phase("guest memory")
	p.Add(Step{
		Op: "mmap", Object: "RAM 0", Args: []Arg{A("gpa", Hex(0x1000)), A("size", 4096)}, Why: "all of it",
		Do: func() error { panic("printed plans are not run") }, Undo: func() error { return nil },
	})
	p.Phase("vCPUs")
	p.Add(Step{Op: "KVM_CREATE_VCPU"})
	return p
}

func TestWriteText(t *testing.T) {
	var b strings.Builder
	if err := example().WriteText(&b); err != nil {
		t.Fatal(err)
	}
	want := `set up vm (2 steps)

guest memory
   1  mmap RAM 0  gpa=0x1000 size=4096
      all of it

vCPUs
   2  KVM_CREATE_VCPU
`
	if b.String() != want {
		t.Errorf("text:\n%s\nwant:\n%s", b.String(), want)
	}
}

func TestMarshalJSON(t *testing.T) {
	got, err := json.Marshal(example())
	if err != nil {
		t.Fatal(err)
	}
	want := `{"plan":"set up vm","steps":[` +
		`{"number":1,"phase":"guest memory","op":"mmap","object":"RAM 0","args":[{"name":"gpa","value":"0x1000"},{"name":"size","value":4096}],"why":"all of it","undone":true},` +
		`{"number":2,"phase":"vCPUs","op":"KVM_CREATE_VCPU","undone":false}]}`
	if !bytes.Equal(got, []byte(want)) {
		t.Errorf("json:\n%s\nwant:\n%s", got, want)
	}
	if empty, err := json.Marshal(New("nothing")); err != nil || string(empty) != `{"plan":"nothing","steps":[]}` {
		t.Errorf("empty plan = %s, %v", empty, err)
	}
}

func ExamplePlan() {
	var fd int
	p := New("open a door")
	p.Add(
		Step{
			Op: "open", Object: "door", Why: "to go through",
			Do:   func() error { fd = 3; return nil },
			Undo: func() error { fmt.Println("close", fd); return nil },
		},
		Step{Op: "walk", Object: "door", Do: func() error { return errors.New("stuck") }},
	)
	_, err := p.Run(context.Background())
	fmt.Println(err)
	// Output:
	// close 3
	// open a door: step 2: walk door: stuck
}
