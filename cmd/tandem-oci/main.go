package main

import (
	"os"

	"tandem/internal/slack"
)

func main() {
	growStack(0)
	slack.Relax(slack.Short)
	os.Exit(run(interruptible(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// growStack makes the stack as large as a run needs it, while there is next to nothing on it. A stack grows by being copied
// to where there is twice the room, and for that the runtime looks up each function on it: later there are dozens, in parts
// of its tables that no page has been read of yet.
//
//go:noinline
func growStack(i int) byte {
	var room [12 << 10]byte // a stack has a power of two
	return room[i]
}
