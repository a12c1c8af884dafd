// Namespaces makes each of the eight kinds of namespace alone, and looks at it
// from inside and from outside.
package main

import (
	"fmt"
	"os"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run is the visitor, or the process inside if the arguments say so: see
// visit.go for why there are two.
func run(args []string) error {
	if len(args) >= 2 && args[0] == insideWord {
		return beInside(args[1], args[2:])
	}
	for i := range stops {
		if err := stops[i].visit(); err != nil {
			return fmt.Errorf("%s: %w", stops[i].name, err)
		}
	}
	return nil
}
