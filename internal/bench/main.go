// Bench measures tandem beside its peers, in turn in one run, so that what a noisy machine does to one it does to all:
//
//	start   from the monitor's start to the guest's first instruction, and the monitor's own memory then
//	init    from the monitor's start to the guest's init, Linux with the same kernel and initrd, where KVM runs Linux:
//	        on this host or in the lab
//	exit    what a PIO exit costs in Go and in C
//	network the network card alone; and with Linux behind it, on each data path, beside QEMU's
//	blk     the disk, by fio in Linux behind it, beside QEMU's
//	vhost-user
//	        a frame through a vhost-user back-end, ours and DPDK's, driven without a guest
//	containers
//	        time and memory of tandem-oci, beside crun and runc; the time to unpack an image, beside podman
//
// It prints medians, the spread and ratios; with -json for programs. It makes no judgement and fails only if it could
// not measure tandem itself.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

type options struct {
	tandem string
	gokvm  string
	runs   int
	boots  int
	memory int
	only   string
	json   bool
	serve  bool
}

func main() {
	var o options
	flag.StringVar(&o.tandem, "tandem", "bin/tandem", "the tandem to measure")
	flag.StringVar(&o.gokvm, "gokvm", "", "the gokvm to compare it with; built if none is given")
	flag.IntVar(&o.runs, "n", 20, "counted runs to the first instruction")
	flag.IntVar(&o.boots, "boots", 5, "counted runs to init, and readings of each guest under load")
	flag.IntVar(&o.memory, "memory", 256, "the guest's memory in MiB")
	flag.StringVar(&o.only, "only", "start,init,exit,network,blk,vhost-user,containers", "what to measure")
	flag.BoolVar(&o.json, "json", false, "print JSON")
	flag.BoolVar(&o.serve, "serve-load", false, "be the guest's half of the network's and the disk's load")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	do := run
	if o.serve {
		do = func(context.Context, options) error { return serveLoad() }
	}
	if err := do(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// benches are what can be measured, in the order of the report.
var benches = []struct {
	name string
	run  func(ctx context.Context, o options, dir string) ([]table, error)
}{
	{"start", benchStart},
	{"init", benchInit},
	{"exit", benchExit},
	{"network", benchNetwork},
	{"blk", benchBlk},
	{"vhost-user", benchVhostUser},
	{"containers", benchContainers},
}

func run(ctx context.Context, o options) error {
	if flag.NArg() > 0 || o.runs < 1 || o.boots < 1 || o.memory < 16 {
		return errors.New("usage: bench [-n RUNS] [-boots RUNS] [-memory MIB] [-only start,init,exit,network,blk,vhost-user,containers] [-json]")
	}
	dir, err := os.MkdirTemp("", "tandem-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	wanted := strings.Split(o.only, ",")
	var tables []table
	for _, b := range benches {
		if !has(wanted, b.name) {
			continue
		}
		t, err := b.run(ctx, o, dir)
		if err != nil {
			return fmt.Errorf("%s: %w", b.name, err)
		}
		tables = append(tables, t...)
		if !o.json {
			if err := printTables(os.Stdout, t); err != nil {
				return err
			}
		}
	}
	if len(tables) == 0 {
		return fmt.Errorf("-only %s names nothing to measure", o.only)
	}
	if o.json {
		return printJSON(os.Stdout, tables)
	}
	return nil
}

func has(list []string, s string) bool {
	for _, l := range list {
		if strings.TrimSpace(l) == s {
			return true
		}
	}
	return false
}

// benchStart measures what a monitor itself takes: its guest does nothing but print.
func benchStart(ctx context.Context, o options, dir string) ([]table, error) {
	kernel, err := writeStampKernel(dir)
	if err != nil {
		return nil, err
	}
	monitors, missing := findMonitors(o, dir)
	results := compare(ctx, monitors, guest{kernel: kernel, cmdline: "bench", memory: o.memory},
		string(stampMark), o.runs, 30*time.Second)
	if results[0].err != nil {
		return nil, results[0].err
	}
	return []table{
		{
			Title: fmt.Sprintf("from the monitor's start to the guest's first instruction, %d MiB", o.memory),
			Aim:   "15 ms",
			Rows:  summarize(results, "ms", milliseconds),
			Notes: missing,
		},
		{
			Title: "the monitor's own anonymous memory beside the guest's, at that moment",
			Aim:   "8 MiB",
			Rows:  summarize(results, "MiB", ownMiB),
		},
	}, nil
}
