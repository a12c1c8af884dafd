package network

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"tandem/internal/plan"
)

var errBroken = errors.New("broken")

// kinds are the specs whose steps are all tried.
func (w *world) kinds(id string) map[string]func() Spec {
	ports := []string{"8080:80", "8081-8083:81-83/udp", "90", "127.0.0.1:8090:90"}
	return map[string]func() Spec{
		"veth": func() Spec { return w.spec(id, w.namespace()) },
		"tap": func() Spec {
			s := w.spec(id, nil, ports...)
			s.Tap = &Tap{UID: 1000, GID: 1000, Queues: 2, VNetHdr: true}
			return s
		},
		"ports": func() Spec { return w.spec(id, w.namespace(), ports...) },
	}
}

// TestFailureAtEachStep leaves nothing behind, whether the box is the first on its bridge or not.
func TestFailureAtEachStep(t *testing.T) {
	for _, others := range []int{0, 1} {
		w := newWorld(t)
		w.nft(dropPolicy, "-f", "-")
		if others > 0 {
			w.attach("other", "8000:80", "8000:80/udp")
		}
		for kind, spec := range w.kinds("box") {
			t.Run(fmt.Sprintf("%s beside %d", kind, others), func(t *testing.T) {
				w := w.in(t)
				before := w.snapshot()
				steps := 1
				for k := 0; k < steps; k++ {
					s, err := Prepare(t.Context(), spec())
					if err != nil {
						t.Fatal(err)
					}
					all := s.Steps()
					if steps = len(all); k > 0 && all[k-1].Do == nil {
						continue // told of alone
					}
					p := plan.New("test")
					p.Add(all[:k]...)
					p.Add(plan.Step{Op: "break", Do: func() error { return errBroken }})
					if _, err := p.Run(t.Context()); !errors.Is(err, errBroken) {
						t.Fatalf("after %d steps: %v", k, err)
					} else if strings.Contains(err.Error(), "undo") {
						t.Errorf("after %d steps: %v", k, err)
					}
					w.same(fmt.Sprintf("after %d steps and their undoing, the last %q", k, all[max(k, 1)-1]), before, w.snapshot())
				}
				if steps < 15 {
					t.Errorf("only %d steps", steps)
				}
			})
		}
	}
}

const dropPolicy = `table ip filter {
	chain FORWARD {
		type filter hook forward priority filter; policy drop;
	}
}
table ip6 filter {
	chain FORWARD {
		type filter hook forward priority filter; policy drop;
	}
}
`

// TestUndoLongAfter takes back a finished plan, as an engine does whose later steps fail.
func TestUndoLongAfter(t *testing.T) {
	w := newWorld(t)
	before := w.snapshot()
	for kind, spec := range w.kinds("box") {
		s, err := Prepare(t.Context(), spec())
		if err != nil {
			t.Fatal(err)
		}
		p := plan.New("test")
		p.Phases = s.Phases()
		ctx, cancel := context.WithCancel(t.Context())
		done, err := p.Run(ctx)
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		cancel() // the undoing does not depend on it
		for range 2 {
			if err := done.Undo(); err != nil {
				t.Errorf("%s: %v", kind, err)
			}
		}
		w.same(kind+" undone", before, w.snapshot())
	}
}

// TestDetachBySavedState is done by another process than the one that attached, or by one that knows the ID alone, and
// more than once.
func TestDetachBySavedState(t *testing.T) {
	w := newWorld(t)
	before := w.snapshot()
	for kind, spec := range w.kinds("box") {
		for _, idAlone := range []bool{false, true} {
			a, err := Attach(t.Context(), spec())
			if err != nil {
				t.Fatalf("%s: %v", kind, err)
			}
			text, err := json.Marshal(a)
			if err != nil {
				t.Fatal(err)
			}
			var saved Attachment
			if err := json.Unmarshal(text, &saved); err != nil {
				t.Fatal(err)
			}
			again, err := json.Marshal(saved)
			if err != nil || string(again) != string(text) {
				t.Errorf("%s read back = %s, %v", text, again, err)
			}
			if idAlone {
				saved = Attachment{ID: "box", State: w.state, Host: w.host.Path()}
			}
			a.CloseSockets()
			for range 2 {
				if err := Detach(t.Context(), &saved); err != nil {
					t.Errorf("%s: %v", kind, err)
				}
			}
			w.same(kind+" detached", before, settingsBack(w.snapshot()))
		}
	}
}

// TestChangedIsTold once, and stays.
func TestChangedIsTold(t *testing.T) {
	w := newWorld(t)
	names := func(a *Attachment) []string {
		var all []string
		for _, c := range a.Changed {
			all = append(all, c.Name+" "+c.Old+" "+c.New)
		}
		return all
	}
	sp := &space{ns: w.host}
	_, err := sp.sysctl("net/ipv6/conf/uplink/force_forwarding")
	modern := err == nil
	a := w.attach("a")
	want := []string{"net.ipv4.ip_forward 0 1", "net.ipv6.conf.uplink.force_forwarding 0 1"}
	if !modern {
		want = []string{"net.ipv4.ip_forward 0 1", "net.ipv6.conf.uplink.accept_ra 1 2", "net.ipv6.conf.all.forwarding 0 1"}
	}
	if got := names(a.Attachment); !slices.Equal(got, want) {
		t.Errorf("the first box changed %q, want %q", got, want)
	}
	if got := names(w.attach("b").Attachment); len(got) != 0 {
		t.Errorf("the second box changed %q", got)
	}
}

// TestForwardingOnOldKernels is the way without force_forwarding, with the undoing of each of its changes.
func TestForwardingOnOldKernels(t *testing.T) {
	w := newWorld(t)
	before := w.snapshot()
	attach := func(fail bool) (*Attachment, error) {
		s, err := Prepare(t.Context(), w.spec("a", w.namespace()))
		if err != nil {
			t.Fatal(err)
		}
		s.oldKernel = true
		p := plan.New("test")
		p.Phases = s.Phases()
		if fail {
			p.Add(plan.Step{Op: "break", Do: func() error { return errBroken }})
		}
		_, err = p.Run(t.Context())
		return s.Attachment(), err
	}
	if _, err := attach(true); !errors.Is(err, errBroken) {
		t.Fatal(err)
	}
	w.same("undone", before, w.snapshot())
	a, err := attach(false)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range a.Changed {
		got = append(got, c.Name+" "+c.Old+" "+c.New)
	}
	want := []string{"net.ipv4.ip_forward 0 1", "net.ipv6.conf.uplink.accept_ra 1 2", "net.ipv6.conf.all.forwarding 0 1"}
	if !slices.Equal(got, want) {
		t.Errorf("changed %q, want %q", got, want)
	}
	if err := Detach(t.Context(), a); err != nil {
		t.Error(err)
	}
}
