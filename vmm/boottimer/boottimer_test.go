package boottimer

import (
	"testing"
	"time"
)

func TestMarks(t *testing.T) {
	cpu := time.Duration(0)
	timer := New(time.Now(), func() time.Duration { cpu += time.Second; return cpu })
	if got := timer.Marks(); len(got) != 0 {
		t.Errorf("a new timer has %v", got)
	}
	timer.Write(0, []byte{1})
	timer.Write(0, []byte{2})
	m := timer.Marks()
	if len(m) != 2 || m[0].Value != 1 || m[1].Value != 2 {
		t.Fatalf("marks = %+v", m)
	}
	if m[0].CPU != time.Second || m[1].CPU != 2*time.Second || m[0].Wall < 0 || m[1].Wall < m[0].Wall {
		t.Errorf("marks = %+v", m)
	}
	m[0].Value = 99
	if timer.Marks()[0].Value != 1 {
		t.Error("the caller's copy is the timer's own")
	}
}

// A guest that writes for ever fills a bounded list.
func TestBound(t *testing.T) {
	timer := New(time.Now(), func() time.Duration { return 0 })
	for i := range 10 * maxMarks {
		timer.Write(0, []byte{byte(i), 0, 0, 0})
	}
	if n := len(timer.Marks()); n != maxMarks {
		t.Errorf("%d marks, want %d", n, maxMarks)
	}
	p := []byte{7}
	if timer.Read(0, p); p[0] != 0 {
		t.Errorf("reads %v", p)
	}
}
