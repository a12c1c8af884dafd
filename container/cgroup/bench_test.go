package cgroup

import (
	"fmt"
	"os"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"tandem/internal/testenv"
)

func BenchmarkDetect(b *testing.B) {
	for b.Loop() {
		if _, err := Detect(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkGroup is what a container pays for its group, without a process in it.
func BenchmarkGroup(b *testing.B) {
	testenv.Need(b, testenv.Root)
	host := detect(b)
	limit := int64(64 << 20)
	resources := &specs.LinuxResources{Devices: DefaultDevices(), Memory: &specs.LinuxMemory{Limit: &limit}}
	path, err := ParsePath(fmt.Sprintf("/tandem-test-%d", os.Getpid()), "")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		g, err := New(host, path, resources)
		if err != nil {
			b.Fatal(err)
		}
		run(b, g.Create())
		if err := g.Remove(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkStats(b *testing.B) {
	testenv.Need(b, testenv.Root)
	g := makeGroup(b, detect(b), `{}`)
	for b.Loop() {
		if _, err := g.Stats(); err != nil {
			b.Fatal(err)
		}
	}
}
