package main

import (
	"testing"
	"time"

	"tandem/internal/testenv"
)

// TestVhostUser has frames go both ways through each back-end that is here, and be counted where they arrive.
func TestVhostUser(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.TUN, testenv.GoToolchain)
	o := options{tandem: testenv.Tandem(t), boots: 1}
	tables, err := benchVhostUser(t.Context(), o, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if len(tables) != 4 {
		t.Fatalf("%d tables, want a rate and a cost each way", len(tables))
	}
	for _, table := range tables {
		for _, row := range table.Rows {
			if row.Runs != 1 || row.Median <= 0 || row.Median > float64(time.Second) {
				t.Errorf("%s: %+v", table.Title, row)
			}
		}
	}
}
