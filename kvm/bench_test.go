package kvm_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"tandem/internal/testenv"
	"tandem/kvm"
)

// BenchmarkPIOExit is the cost of the simplest exit, from the guest's OUT to
// its next, here and from a loop in C. The two take short turns in both
// benchmarks, so that what else the host does meets both; ns/op is the median
// turn's for one exit.
func BenchmarkPIOExit(b *testing.B) {
	b.Run("go", func(b *testing.B) {
		ours, theirs := takeTurns(b)
		b.ReportMetric(float64(ours), "ns/op")
		b.ReportMetric(float64(ours)/float64(theirs), "x-C")
	})
	b.Run("c", func(b *testing.B) {
		_, theirs := takeTurns(b)
		b.ReportMetric(float64(theirs), "ns/op")
	})
}

// takeTurns returns the median costs of an exit, in Go and in C.
func takeTurns(b *testing.B) (ours, theirs time.Duration) {
	testenv.Need(b, testenv.KVM, testenv.GCC)
	const batch = 50
	inC := startC(b)
	g := newGuest(b, loopOut)
	must(b, g.cpu.Bind())
	defer g.cpu.Unbind()
	var inGoTook, inCTook []time.Duration
	turn := func() {
		start := time.Now()
		exitsInGo(b, g.cpu, batch)
		inGoTook = append(inGoTook, time.Since(start)/batch)
		inCTook = append(inCTook, inC(batch)/batch)
	}
	turn() // faults in what both need
	inGoTook, inCTook = inGoTook[:0], inCTook[:0]
	for b.Loop() {
		turn()
	}
	return median(inGoTook), median(inCTook)
}

func exitsInGo(b *testing.B, cpu *kvm.VCPU, n int) {
	for range n {
		exit, err := cpu.Run()
		if err != nil {
			if errors.Is(err, kvm.ErrInterrupted) {
				continue
			}
			b.Fatal(err)
		}
		switch e := exit.(type) {
		case *kvm.IO:
			if e.Port != 0x10 {
				b.Fatal(e)
			}
		default:
			b.Fatal(e)
		}
	}
}

// startC compiles and starts testdata/pio.c; the function that it returns has
// it make exits.
func startC(b *testing.B) func(exits int) time.Duration {
	b.Helper()
	binary := filepath.Join(b.TempDir(), "pio")
	if out, err := exec.Command("gcc", "-O2", "-o", binary, "testdata/pio.c").CombinedOutput(); err != nil {
		b.Fatalf("gcc: %v\n%s", err, out)
	}
	cmd := exec.Command(binary)
	in, err := cmd.StdinPipe()
	must(b, err)
	out, err := cmd.StdoutPipe()
	must(b, err)
	must(b, cmd.Start())
	b.Cleanup(func() {
		in.Close()
		io.Copy(io.Discard, out)
		must(b, cmd.Wait())
	})
	answers := bufio.NewReader(out)
	return func(exits int) time.Duration {
		fmt.Fprintln(in, exits)
		var ns int64
		if _, err := fmt.Fscanln(answers, &ns); err != nil {
			b.Fatal(err)
		}
		return time.Duration(ns)
	}
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}
