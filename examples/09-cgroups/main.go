// Cgroups makes a control group by hand, and lets each of four controllers bite.
package main

import (
	"errors"
	"fmt"
	"os"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 1 && workers[args[0]] != nil {
		return workers[args[0]]()
	}
	v, err := detect()
	if err != nil {
		return err
	}
	fmt.Printf("cgroup version %d: %s\n", v.version, v.says)
	for _, part := range []func(*version) error{byHand, memory, pids, cpu, freezer} {
		if err := part(v); err != nil {
			return err
		}
	}
	return nil
}

// with makes a group for f, and removes it.
func with(v *version, controller string, f func(g *group) error) error {
	g, err := v.makeGroup(controller)
	if err != nil {
		return err
	}
	return errors.Join(f(g), g.remove())
}
