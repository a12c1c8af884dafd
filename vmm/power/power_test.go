package power

import (
	"testing"

	"tandem/vmm/layout"
)

func TestRegisters(t *testing.T) {
	const enter = layout.SleepTypeS5<<2 | layout.SleepEnable
	for _, test := range []struct {
		name       string
		off        uint64
		data       []byte
		offs, sets int
	}{
		{"S5", 0, []byte{enter}, 1, 0},
		{"S5 without SLP_EN", 0, []byte{enter &^ layout.SleepEnable}, 0, 0},
		{"S3", 0, []byte{3<<2 | layout.SleepEnable}, 0, 0},
		{"S5 to the status register", 1, []byte{enter}, 0, 0},
		{"reset", 2, []byte{layout.ResetValue}, 0, 1},
		{"reset with another value", 2, []byte{2}, 0, 0},
		{"a wide write over both", 0, []byte{enter, 0, layout.ResetValue}, 1, 1},
	} {
		offs, sets := 0, 0
		r := New(func() { offs++ }, func() { sets++ })
		r.Write(test.off, test.data)
		if offs != test.offs || sets != test.sets {
			t.Errorf("%s: %d power-offs, %d resets", test.name, offs, sets)
		}
		p := []byte{1, 2, 3}
		if r.Read(0, p); p[0]|p[1]|p[2] != 0 {
			t.Errorf("%s: reads %v", test.name, p)
		}
	}
}
