package main

import (
	"os"

	"tandem/internal/slack"
)

func main() {
	slack.Relax(slack.Short)
	os.Exit(run(interruptible(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
