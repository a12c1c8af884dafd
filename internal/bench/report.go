package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// result is what the runs of one monitor gave.
type result struct {
	Name     string
	readings []reading
	err      error
}

// summary is a result in three numbers, for people and for --json.
type summary struct {
	Name   string  `json:"name"`
	Unit   string  `json:"unit"`
	Min    float64 `json:"min"`
	Median float64 `json:"median"`
	Max    float64 `json:"max"`
	// Ratio is tandem's median over this one's: below 1, tandem needs less.
	Ratio float64 `json:"tandem_ratio,omitempty"`
	Runs  int     `json:"runs"`
	Error string  `json:"error,omitempty"`
}

// table is one measurement of all that were compared.
type table struct {
	Title string    `json:"title"`
	Aim   string    `json:"aim,omitempty"`
	Rows  []summary `json:"rows"`
	Notes []string  `json:"notes,omitempty"`
}

// summarize makes rows of one figure of the results. The first row is tandem's, which the others are held against.
func summarize(results []result, unit string, figure func(reading) float64) []summary {
	var rows []summary
	for _, r := range results {
		row := summary{Name: r.Name, Unit: unit, Runs: len(r.readings)}
		if r.err != nil {
			row.Error = r.err.Error()
		}
		if len(r.readings) > 0 {
			values := make([]float64, len(r.readings))
			for i, reading := range r.readings {
				values[i] = figure(reading)
			}
			row.Min, row.Median, row.Max = spread(values)
		}
		rows = append(rows, row)
	}
	return withRatios(rows)
}

func withRatios(rows []summary) []summary {
	for i := range rows {
		if i > 0 && rows[i].Median > 0 && rows[0].Median > 0 {
			rows[i].Ratio = rows[0].Median / rows[i].Median
		}
	}
	return rows
}

// spread gives the least, the middle and the greatest value. values must not be empty.
func spread(values []float64) (least, median, greatest float64) {
	v := slices.Sorted(slices.Values(values))
	mid := len(v) / 2
	median = v[mid]
	if len(v)%2 == 0 {
		median = (v[mid-1] + v[mid]) / 2
	}
	return v[0], median, v[len(v)-1]
}

func milliseconds(r reading) float64 { return float64(r.wall) / float64(time.Millisecond) }

func ownMiB(r reading) float64 { return float64(r.own) / (1 << 20) }

func printTables(w io.Writer, tables []table) error {
	for _, t := range tables {
		fmt.Fprintf(w, "%s\n", t.Title)
		if t.Aim != "" {
			fmt.Fprintf(w, "aim: %s\n", t.Aim)
		}
		tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprint(tw, "\tmedian\tmin\tmax\truns\ttandem is\t\n")
		for _, row := range t.Rows {
			if row.Runs == 0 {
				continue
			}
			ratio := ""
			if row.Ratio > 0 {
				ratio = fmt.Sprintf("%.2fx", row.Ratio)
			}
			fmt.Fprintf(tw, "%s\t%.2f %s\t%.2f\t%.2f\t%d\t%s\t\n",
				row.Name, row.Median, row.Unit, row.Min, row.Max, row.Runs, ratio)
		}
		if err := tw.Flush(); err != nil {
			return err
		}
		for _, row := range t.Rows {
			if row.Error != "" {
				fmt.Fprintf(w, "%s did not run: %s\n", row.Name, row.Error)
			}
		}
		for _, note := range t.Notes {
			fmt.Fprintf(w, "note: %s\n", note)
		}
		fmt.Fprintln(w)
	}
	return nil
}

func printJSON(w io.Writer, tables []table) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(tables)
}
