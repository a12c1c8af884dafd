// Datapaths sends the same frame, by the same driver, on each of the four ways that a network card's packets can take, and
// tells when it came to each hop.
package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

const frames = 300

func run(args []string) error {
	if len(args) == 1 && args[0] == serveArg {
		return serve()
	}
	fmt.Printf("%d frames of %d bytes on each path, one at a time; medians, in microseconds since idx was raised:\n", frames, frameSize)
	var columns []column
	vhost := "the kernel stamps nothing of its own accord"
	for _, p := range paths {
		hops, err := travel(p)
		if errors.Is(err, errors.ErrUnsupported) && p.optional {
			vhost = fmt.Sprintf("not here: %v", err)
		} else if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		columns = append(columns, column{p.name, hops})
	}
	print(columns)
	fmt.Println("vhost:", vhost)
	return nil
}

// column is what was measured on one path.
type column struct {
	name string
	hops []hops // of each frame; nil if the path is not here
}

func print(columns []column) {
	fmt.Printf("  %-26s", "")
	for _, c := range columns {
		fmt.Printf(" %10s", c.name)
	}
	fmt.Println()
	for hop, name := range hopNames {
		fmt.Printf("  %-26s", name)
		for _, c := range columns {
			fmt.Printf(" %10s", c.median(hop))
		}
		fmt.Println()
	}
}

// median of those frames that were seen at a hop; "-" if none was.
func (c column) median(hop int) string {
	var took []int64
	for _, h := range c.hops {
		if h[hop] != 0 {
			took = append(took, h[hop]-h[raised])
		}
	}
	if len(took) == 0 {
		return "-"
	}
	slices.Sort(took)
	return fmt.Sprintf("%.1f", float64(took[len(took)/2])/1000)
}
