package network

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"tandem/internal/plan"
)

// killVariable has this program attach a box and kill itself, instead of running tests.
const killVariable = "TANDEM_NETWORK_KILL"

// killOrder is what it holds. The namespaces are descriptors 3 (host) and 4 (container).
type killOrder struct {
	Spec Spec
	Step int // before which it dies; one more than there are to die at the end
}

// killedChild is the child's side.
func killedChild() bool {
	text, ok := os.LookupEnv(killVariable)
	if !ok {
		return false
	}
	err := func() error {
		var order killOrder
		if err := json.Unmarshal([]byte(text), &order); err != nil {
			return err
		}
		s, err := Prepare(context.Background(), order.Spec)
		if err != nil {
			return err
		}
		p := plan.New("killed")
		p.Phases = s.Phases()
		step := 0
		p.Observe = func(*plan.Step) {
			if step++; step == order.Step {
				unix.Kill(os.Getpid(), unix.SIGKILL)
				select {}
			}
		}
		if _, err := p.Run(context.Background()); err != nil {
			return err
		}
		unix.Kill(os.Getpid(), unix.SIGKILL)
		select {}
	}()
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
	return true
}

// attachAndDie attaches a box in a process that is killed before a step.
func (w *world) attachAndDie(s Spec, step int) {
	w.t.Helper()
	host, box := os.NewFile(uintptr(dup(w.t, w.host.Fd())), "host"), (*os.File)(nil)
	defer host.Close()
	files := []*os.File{host}
	if s.Tap == nil {
		var fd int
		if _, err := fmt.Sscanf(s.NetNS, "/proc/self/fd/%d", &fd); err != nil {
			w.t.Fatal(err)
		}
		box = os.NewFile(uintptr(dup(w.t, fd)), "box")
		defer box.Close()
		files = append(files, box)
		s.NetNS = "/proc/self/fd/4"
	}
	s.Host = "/proc/self/fd/3"
	order, err := json.Marshal(killOrder{s, step})
	w.must(err)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), killVariable+"="+string(order))
	cmd.ExtraFiles = files
	out, err := cmd.CombinedOutput()
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() || status.Signal() != unix.SIGKILL {
		w.t.Fatalf("killed before step %d: %v\n%s", step, err, out)
	}
}

func dup(t testing.TB, fd int) int {
	t.Helper()
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestKilledAtEachStep: what a killed process leaves is found and removed, and a box of the same ID can be attached
// over it, even if nobody collects.
func TestKilledAtEachStep(t *testing.T) {
	w := newWorld(t)
	w.nft(dropPolicy, "-f", "-")
	before := w.snapshot()
	gone := func(string) bool { return false }
	store := Store{State: w.state, Host: w.host.Path()}
	for kind, spec := range w.kinds("box") {
		if kind == "veth" {
			continue // the one with ports has all its steps, and more
		}
		s, err := Prepare(t.Context(), spec())
		if err != nil {
			t.Fatal(err)
		}
		all := s.Steps()
		steps := len(all)
		for k := 1; k <= steps+1; k++ {
			if k > 1 && all[k-2].Do == nil {
				continue // the step before is told of alone
			}
			what := fmt.Sprintf("%s killed before step %d", kind, k)
			w.attachAndDie(spec(), k)
			found, err := store.Leftovers(t.Context(), gone)
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			collected, err := store.Collect(t.Context(), gone)
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			if fmt.Sprint(found) != fmt.Sprint(collected) {
				t.Errorf("%s: listed %v, collected %v", what, found, collected)
			}
			w.same(what+" and collected", before, settingsBack(w.snapshot()))
			if again, err := store.Leftovers(t.Context(), gone); err != nil || len(again) > 0 {
				t.Errorf("%s: still there: %v, %v", what, again, err)
			}

			w.attachAndDie(spec(), k)
			if k >= steps { // it is attached, and lives as far as the kernel knows
				if _, err := store.Collect(t.Context(), gone); err != nil {
					t.Fatalf("%s: %v", what, err)
				}
			}
			a, err := Attach(t.Context(), spec())
			if err != nil {
				t.Fatalf("%s, attached anew: %v", what, err)
			}
			if err := Detach(t.Context(), a); err != nil {
				t.Errorf("%s, attached anew: %v", what, err)
			}
			w.same(what+", attached anew and detached", before, settingsBack(w.snapshot()))
		}
	}
}
