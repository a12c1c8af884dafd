package process

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tandem/internal/testenv"
	"tandem/internal/thread"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func TestParseStat(t *testing.T) {
	const rest = " S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20 21"
	for stat, want := range map[string]uint64{
		"42 (sleep)" + rest:                4711,
		"42 (a) b (c) 1 2 3)" + rest:       4711,
		"42 ()" + rest:                     4711,
		"42 (sleep" + rest:                 0,
		"42 (sleep) S 1 2":                 0,
		"":                                 0,
		"42 (sleep) S" + rest + "x":        18, // the fields count, whatever the last is
		strings.Repeat("(", 99) + rest:     0,
		"1 (x)" + strings.Repeat(" -", 30): 0,
	} {
		got, ended, err := parseStat([]byte(stat))
		if got != want || (err != nil) != (want == 0) || ended {
			t.Errorf("parseStat(%q) = %d, %v, %v, want %d", stat, got, ended, err, want)
		}
	}
	if start, ended, err := parseStat([]byte("42 (x)" + strings.Replace(rest, "S", "Z", 1))); start != 4711 || !ended || err != nil {
		t.Errorf("parseStat of a zombie = %d, %v, %v", start, ended, err)
	}
}

func FuzzParseStat(f *testing.F) {
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(stat)
	f.Add([]byte("42 (a) b (c) 1 2 3) S 1 2"))
	f.Fuzz(func(_ *testing.T, stat []byte) { _, _, _ = parseStat(stat) })
}

// A zombie has ended, though its number is still its own; and a number is not enough to be somebody.
func TestLife(t *testing.T) {
	cmd := exec.Command("cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	id, err := Of(cmd.Process.Pid)
	if err != nil || !id.Alive() {
		t.Fatalf("Of = %v, %v, alive %v", id, err, id.Alive())
	}
	other := ID{id.PID, id.Start + 1}
	if _, err := other.Open(); other.Alive() || !errors.Is(err, ErrGone) {
		t.Errorf("one of the same number is alive: %v, Open = %v, want %v", other.Alive(), err, ErrGone)
	}
	f, err := id.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := Await(ctx, f); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Await of one that runs = %v, want %v", err, context.DeadlineExceeded)
	}
	in.Close()
	if err := id.Wait(t.Context()); err != nil {
		t.Errorf("Wait = %v", err)
	}
	if _, err := Of(id.PID); id.Alive() || !errors.Is(err, ErrGone) {
		t.Errorf("a zombie is alive: %v, Of = %v, want %v", id.Alive(), err, ErrGone)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if err := Signal(f, unix.SIGTERM); !errors.Is(err, ErrGone) {
		t.Errorf("Signal = %v, want %v", err, ErrGone)
	}
	if err := id.Wait(t.Context()); err != nil {
		t.Errorf("Wait for one that is gone = %v", err)
	}
}

// A number that is a thread's by now is nobody's who was named by it.
func TestNumberOfAThread(t *testing.T) {
	thread.Throwaway(func() {
		if _, err := (ID{unix.Gettid(), 1}).Open(); !errors.Is(err, ErrGone) {
			t.Errorf("Open = %v, want %v", err, ErrGone)
		}
	})
}

func TestNobody(t *testing.T) {
	if _, err := (ID{}).Open(); !errors.Is(err, ErrGone) {
		t.Errorf("Open of the zero ID = %v, want %v", err, ErrGone)
	}
	if self, err := Self(); err != nil || !self.Alive() || self.PID != os.Getpid() {
		t.Errorf("Self = %v, %v", self, err)
	}
}
