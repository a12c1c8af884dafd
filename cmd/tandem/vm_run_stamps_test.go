package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tandem/internal/testenv"
)

// TestVMRunStamps traces a guest whose frames the kernel's vhost carries: all that it does with a frame is in the trace,
// in its order.
func TestVMRunStamps(t *testing.T) {
	needGuests(t)
	testenv.Need(t, testenv.VHostNet, testenv.Fentry)
	h := newNetHost(t)
	log := filepath.Join(t.TempDir(), "trace")
	g := h.boot("traced", "--net", "bridge,datapath=vhost", "--trace", "virtio", "--trace-file", log)
	g.do("ping -4 -c 1 -W 10 -s 1000 " + g.gateway("-4")) // 1000 bytes and headers of 8, 20, 14 and 12
	g.leave()
	h.wantNothingLeft()
	trace, err := os.ReadFile(log)
	h.must(err)
	for queue, steps := range map[string][]string{
		"net0 queue 1": {"kick seen", "chain popped", "frame sent", "used published", "call sent"},
		"net0 queue 0": {"chain popped", "frame received", "used published", "call sent"},
	} {
		rest := string(trace)
		for _, step := range steps {
			step = queue + ": " + step
			_, after, found := strings.Cut(rest, step)
			if !found {
				t.Errorf("no %q in its place; the trace is\n%s", step, trace)
				break
			}
			rest = after
		}
	}
	for _, frame := range []string{"net0 queue 1: frame sent head ", "net0 queue 0: frame received head "} {
		if !hasLine(string(trace), frame, " length 1054") {
			t.Errorf("no %q of 1054 bytes; the trace is\n%s", frame, trace)
		}
	}
}

// hasLine tells whether a line of the text has both.
func hasLine(text, one, other string) bool {
	for line := range strings.Lines(text) {
		if _, after, ok := strings.Cut(line, one); ok && strings.Contains(after, other) {
			return true
		}
	}
	return false
}
