package main

import (
	"os"
	"runtime"

	"tandem/internal/slack"
)

func main() {
	slack.Relax(slack.Short)
	// There is nothing here to do at the same time: a second processor only makes the runtime wake up threads that look for
	// work, and find none.
	runtime.GOMAXPROCS(1)
	os.Exit(run(interruptible(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
