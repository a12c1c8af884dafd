package lab

import (
	"math"
	"testing"
	"time"
)

func TestKilohertz(t *testing.T) {
	first := readClocks()
	a, err := first.kilohertz(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(first.at); took < minTSCSpan {
		t.Fatalf("measured over %v, want %v or more", took, minTSCSpan)
	}
	b, err := readClocks().kilohertz(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if a < 500_000 || a > 10_000_000 {
		t.Errorf("%d kHz, want a processor's frequency", a)
	}
	// The kernel itself calls it a wrong frequency from 500 parts in a million on (ntp's limit).
	if diff := math.Abs(float64(a)-float64(b)) / float64(a); diff > 100e-6 {
		t.Errorf("measured %d and then %d kHz, %.0f parts in a million apart", a, b, diff*1e6)
	}
}
