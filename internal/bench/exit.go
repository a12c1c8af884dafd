package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// benchExit runs package kvm's own benchmark of a PIO exit, which has the same loop in Go and in C.
func benchExit(ctx context.Context, _ options, _ string) ([]table, error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "^BenchmarkPIOExit", "-count", "5", "tandem/kvm")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, tail(string(out)))
	}
	rows := parseBenchmarks(out)
	if len(rows) == 0 {
		return nil, fmt.Errorf("no benchmark in: %s", tail(string(out)))
	}
	return []table{{Title: "a PIO exit, to the monitor and back", Aim: "1.1 of C's", Rows: withRatios(rows)}}, nil
}

// parseBenchmarks reads the lines of go test -bench, several of a name: "BenchmarkPIOExit/go-2  1000  8123 ns/op".
func parseBenchmarks(out []byte) []summary {
	var order []string
	values := map[string][]float64{}
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") || fields[3] != "ns/op" {
			continue
		}
		ns, err := strconv.ParseFloat(fields[2], 64)
		if err != nil {
			continue
		}
		name, _, _ := strings.Cut(fields[0], "-")
		if _, sub, ok := strings.Cut(name, "/"); ok {
			name = sub
		}
		if values[name] == nil {
			order = append(order, name)
		}
		values[name] = append(values[name], ns/1000)
	}
	var rows []summary
	for _, name := range order {
		row := summary{Name: name, Unit: "us", Runs: len(values[name])}
		row.Min, row.Median, row.Max = spread(values[name])
		rows = append(rows, row)
	}
	return rows
}
