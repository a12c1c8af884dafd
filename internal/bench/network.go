package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"tandem/kvm/probe"
	"tandem/lab"
)

// benchNetwork measures the network card: alone, and with Linux behind it beside QEMU's.
func benchNetwork(ctx context.Context, o options, dir string) ([]table, error) {
	if !probe.Quick().Linux {
		alone, err := benchCard(ctx)
		if err != nil {
			return nil, err
		}
		behind, err := inLab(ctx, o, "network")
		return append(alone, behind...), err
	}
	var tables []table
	if os.Getenv(lab.Variable) == "" { // there is no Go in the lab
		var err error
		if tables, err = benchCard(ctx); err != nil {
			return nil, err
		}
	}
	f, err := newFleet(ctx, o, dir)
	if err != nil {
		return nil, err
	}
	defer f.close()
	var notes []string
	for _, path := range []string{"exit", "eventfd", "vhost", "vhost-user"} {
		notes = append(notes, f.tryAdd(ctx, tandemVessel(o, path))...)
	}
	if len(f.vessels) == 0 {
		return nil, errors.New(notes[0])
	}
	notes = append(notes, f.tryAdd(ctx, qemuVessel("QEMU userspace", "tandem eventfd", "off"))...)
	notes = append(notes, f.tryAdd(ctx, qemuVessel("QEMU vhost", "tandem vhost", "on"))...)
	const more = "eventfd no slower than QEMU's userspace, vhost no slower than QEMU's vhost: 1 and more"
	const less = "eventfd no slower than QEMU's userspace, vhost no slower than QEMU's vhost: 1 and less"
	measured := f.measure(o.boots, []gauge{
		{"a TCP stream into the guest", more, "MB/s", peer.toGuest},
		{"a TCP stream out of the guest", more, "MB/s", peer.fromGuest},
		{"a byte to the guest and back, by TCP", less, "us", peer.roundTrip},
		{"small UDP packets that arrive in the guest", more, "/s", peer.packetsToGuest},
		{"small UDP packets that arrive out of the guest", more, "/s", peer.packetsFromGuest},
	})
	measured[0].Notes = notes
	return append(tables, measured...), nil
}

// tryAdd boots a guest, and gives a note if that fails.
func (f *fleet) tryAdd(ctx context.Context, v *vessel) (notes []string) {
	progress("boot %s", v.name)
	defer progress("")
	if err := f.add(ctx, v); err != nil {
		notes = append(notes, fmt.Sprintf("%s is not measured: %v", v.name, err))
	}
	return notes
}

func tandemVessel(o options, path string) *vessel {
	return &vessel{name: "tandem " + path, path: o.tandem, args: func(v *vessel) []string {
		return []string{"--net", "tap=" + v.tap() + ",datapath=" + path, "--name", v.tap()}
	}}
}

func qemuVessel(name, rival, vhost string) *vessel {
	return &vessel{name: name, rival: rival, path: "qemu-system-x86_64", args: func(v *vessel) []string {
		return []string{
			"-netdev", "tap,id=n,ifname=" + v.tap() + ",script=no,downscript=no,vhost=" + vhost,
			"-device", "virtio-net-pci,netdev=n,romfile=,rx_queue_size=1024", // as tandem's
		}
	}}
}

// benchCard runs the card's own benchmarks: driver and device in one process, without KVM.
func benchCard(ctx context.Context) (tables []table, err error) {
	for _, b := range []struct{ name, title string }{
		{"BenchmarkTransmit", "the card alone, driver and device in one process: a frame that it sends, by path and bytes"},
		{"BenchmarkReceive", "a frame that it receives"},
		{"BenchmarkTransmitOne", "one frame at a time, with kick and call"},
	} {
		cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "^"+b.name+"$", "-benchtime", "200ms", "-count", "5", "tandem/virtio/net")
		out, err := cmd.CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("%w: %s", err, tail(string(out)))
		}
		rows := parseBenchmarks(out)
		if len(rows) == 0 {
			return nil, fmt.Errorf("no benchmark in: %s", tail(string(out)))
		}
		tables = append(tables, table{Title: b.title, Rows: rows})
	}
	tables[0].Notes = []string{"no frame allocates: TestNoAllocations of virtio/net holds that"}
	return tables, nil
}

// inLab runs this very program in the lab and takes over what it measured.
func inLab(ctx context.Context, o options, what string, more ...string) ([]table, error) {
	if os.Getenv(lab.Variable) != "" {
		return nil, errors.New("no KVM that can run Linux, here in the lab")
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	tandem, err := filepath.Abs(o.tandem)
	if err != nil {
		return nil, err
	}
	args := []string{
		"lab", "exec", "--", self, "-only", what, "-json",
		"-tandem", tandem, "-boots", fmt.Sprint(o.boots), "-memory", fmt.Sprint(o.memory),
	}
	cmd := exec.CommandContext(ctx, tandem, append(args, more...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("in the lab: %w", err)
	}
	var tables []table
	if err := json.Unmarshal(out, &tables); err != nil {
		return nil, fmt.Errorf("in the lab: %w: %q", err, tail(string(out)))
	}
	for i := range tables {
		tables[i].Title += " (in the lab)"
	}
	return tables, nil
}
