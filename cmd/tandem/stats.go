package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tandem/cmd/tandem/internal/box"
	"tandem/cmd/tandem/internal/format"
)

// statsEvery is the time over which a share of the processors is measured, and after which the table is shown anew.
const statsEvery = time.Second

func newStatsCommand() *cobra.Command {
	var all, once, full, asJSON bool
	as := formatFlag{heading: statsHeading, usual: statsTable}
	cmd := &cobra.Command{
		Use:   "stats [flags] [CONTAINER...]",
		Short: "Show what containers use of the machine",
		Long: "Shows what containers use of processors, memory, network and disks, and how many processes they have: of those\n" +
			"that are named, or of all that run. It is shown anew each second, until Ctrl-C.\n" +
			"Memory is without what is cached and was not used for long. 100 % of CPU is one processor's.\n" +
			"With --json each showing is a list, on one line; with --no-stream too, over several.",
		Example: "  tandem stats\n  tandem stats --no-stream web\n  tandem stats --no-stream --json | jq '.[].memory.usage'",
		RunE: func(cmd *cobra.Command, args []string) error {
			list, err := as.parse()
			if err != nil {
				return err
			}
			home, err := box.Open()
			if err != nil {
				return err
			}
			w := statsWatch{home: home, words: args, all: all, before: make(map[string]*box.Stats)}
			show := statsShow(cmd.OutOrStdout(), once, asJSON, func(w io.Writer, stats []*box.Stats) error {
				return printStats(w, list, stats, full)
			})
			err = w.run(cmd.Context(), once, show)
			if !once && errors.Is(err, context.Canceled) {
				return exitStatus(statusInterrupted)
			}
			return err
		},
	}
	cmd.Flags().BoolVarP(&all, "all", "a", false, "those that have ended too")
	cmd.Flags().BoolVar(&once, "no-stream", false, "show it once")
	cmd.Flags().BoolVar(&full, "no-trunc", false, "print IDs in full")
	as.register(cmd.Flags(), statsFormatNames)
	addJSONFlag(cmd, &asJSON)
	cmd.MarkFlagsMutuallyExclusive("format", "json")
	return cmd
}

// statsWatch reads the counters of some containers again and again.
type statsWatch struct {
	home   *box.Home
	words  []string // none is all that there are
	all    bool
	before map[string]*box.Stats
}

// run shows the counters, each time a second after the last. Shares are known from the second reading on, so the first is
// not shown.
func (w *statsWatch) run(ctx context.Context, once bool, show func([]*box.Stats) error) error {
	ticker := time.NewTicker(statsEvery)
	defer ticker.Stop()
	for first := true; ; first = false {
		list, err := w.read(first)
		if err != nil {
			return err
		}
		if !first {
			if err := show(list); err != nil || once {
				return err
			}
		}
		if len(list) == 0 && len(w.words) > 0 {
			return nil // all of those were removed
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
	}
}

func (w *statsWatch) read(first bool) ([]*box.Stats, error) {
	list := []*box.Stats{}
	records, err := w.records(first)
	if err != nil {
		return nil, err
	}
	for _, r := range records {
		s, err := r.Stats(w.before[r.ID])
		if err != nil {
			if now := r.Status(); now == box.Running || now == box.Paused {
				return nil, err
			}
			continue // it ended meanwhile
		}
		w.before[r.ID] = s
		if w.all || len(w.words) > 0 || s.Status == box.Running || s.Status == box.Paused {
			list = append(list, s)
		}
	}
	return list, nil
}

// records finds what is meant as it is now. Who is named must be there at first, and may go later.
func (w *statsWatch) records(first bool) ([]*box.Record, error) {
	if len(w.words) == 0 {
		return w.home.List()
	}
	var list []*box.Record
	for _, word := range w.words {
		r, err := w.home.Find(word)
		if err != nil && (first || !errors.Is(err, box.ErrNotFound)) {
			return nil, err
		}
		if err == nil {
			list = append(list, r)
		}
	}
	return list, nil
}

// statsShow is how they are printed. On a terminal each showing takes the place of the last.
func statsShow(w io.Writer, once, asJSON bool, print func(io.Writer, []*box.Stats) error) func([]*box.Stats) error {
	switch {
	case asJSON && once:
		return func(list []*box.Stats) error { return printJSON(w, list) }
	case asJSON:
		return func(list []*box.Stats) error { return json.NewEncoder(w).Encode(list) }
	case once || !isTerminal(w):
		return func(list []*box.Stats) error { return print(w, list) }
	}
	const home, clearRight, clearBelow = "\x1b[H", "\x1b[K", "\x1b[J"
	fmt.Fprint(w, "\x1b[2J")
	return func(list []*box.Stats) error {
		var text strings.Builder
		if err := print(&text, list); err != nil {
			return err
		}
		_, err := io.WriteString(w, home+strings.ReplaceAll(text.String(), "\n", clearRight+"\n")+clearBelow)
		return err
	}
}

// statsHeading has the names that tandem stats --format takes.
var statsHeading = format.Row{
	"Container": "CONTAINER", "ID": "CONTAINER ID", "Name": "NAME", "CPUPerc": "CPU %", "MemUsage": "MEM USAGE / LIMIT", "MemPerc": "MEM %",
	"NetIO": "NET I/O", "BlockIO": "BLOCK I/O", "PIDs": "PIDS",
}

const (
	statsFormatNames = ".ID .Name .CPUPerc .MemUsage .MemPerc .NetIO .BlockIO .PIDs"
	statsTable       = `table {{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}`
)

func printStats(w io.Writer, f *format.List, list []*box.Stats, full bool) error {
	rows := make([]format.Row, 0, len(list))
	for _, s := range list {
		rows = append(rows, statsRow(s, full))
	}
	return f.Print(w, rows)
}

func statsRow(s *box.Stats, full bool) format.Row {
	id := s.ID
	if !full {
		id = box.ShortID(id)
	}
	const unknown = "--"
	row := format.Row{
		"Container": id, "ID": id, "Name": s.Name, "CPUPerc": unknown, "MemUsage": unknown + " / " + unknown, "MemPerc": unknown,
		"NetIO": trafficWords(s.Net), "BlockIO": trafficWords(s.Block), "PIDs": unknown,
	}
	if s.CPU != nil {
		row["CPUPerc"] = fmt.Sprintf("%.2f%%", *s.CPU)
	}
	if m := s.Memory; m != nil {
		row["MemUsage"], row["MemPerc"] = binarySize(m.Usage)+" / "+binarySize(m.Limit), fmt.Sprintf("%.2f%%", m.Percent)
	}
	if s.Pids != nil {
		row["PIDs"] = fmt.Sprint(*s.Pids)
	}
	return row
}

func trafficWords(t *box.Traffic) string {
	if t == nil {
		return "-- / --"
	}
	return decimalSize(t.Received) + " / " + decimalSize(t.Sent)
}

// binarySize is a number of bytes with four digits or so, in powers of 1024: docker writes memory so.
func binarySize(n uint64) string {
	return shortSize(n, 1024, []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"})
}

// decimalSize has powers of 1000: docker writes traffic so.
func decimalSize(n uint64) string {
	return shortSize(n, 1000, []string{"B", "kB", "MB", "GB", "TB", "PB", "EB"})
}

func shortSize(n uint64, base float64, units []string) string {
	size, i := float64(n), 0
	for ; size >= base && i < len(units)-1; i++ {
		size /= base
	}
	return fmt.Sprintf("%.4g%s", size, units[i])
}
