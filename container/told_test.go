package container

import (
	"slices"
	"testing"
)

// A plan that nobody reads numbers its steps as the one that is printed does, so that an error names the step that
// `explain` shows.
func TestUntoldPlanHasTheSameNumbers(t *testing.T) {
	b := newBench(t)
	for _, detached := range []bool{false, true} {
		s := b.spec("true")
		told, err := b.assemble(s, detached, true)
		if err != nil {
			t.Fatal(err)
		}
		defer told.root.Close()
		untold, err := b.assemble(s, detached, false)
		if err != nil {
			t.Fatal(err)
		}
		defer untold.root.Close()
		if !slices.Equal(told.numbers, untold.numbers) {
			t.Errorf("detached %v: the child's steps are %v if told, %v if not", detached, told.numbers, untold.numbers)
		}
		if told.plan.Len() != untold.plan.Len() {
			t.Errorf("detached %v: %d steps if told, %d if not", detached, told.plan.Len(), untold.plan.Len())
		}
		if n := len(told.numbers); n < 100 {
			t.Errorf("detached %v: the child has %d steps", detached, n)
		}
	}
}
