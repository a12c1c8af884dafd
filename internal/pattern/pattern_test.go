package pattern

import (
	"slices"
	"testing"
)

func TestPattern(t *testing.T) {
	p := New(`^a([0-9]+)$`)
	if !p.MatchString("a12") || p.MatchString("b12") {
		t.Error("a12 does not match, or b12 does")
	}
	if got := New("[0-9]+").FindAllStringIndex("a12b3", -1); len(got) != 2 || !slices.Equal(got[1], []int{4, 5}) {
		t.Errorf("all %v", got)
	}
	if got := p.FindStringSubmatch("a12"); !slices.Equal(got, []string{"a12", "12"}) {
		t.Errorf("parts %q", got)
	}
}

// A malformed one is nobody's trouble who does not use it.
func TestMalformed(t *testing.T) {
	p := New("(")
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	p.MatchString("x")
}
