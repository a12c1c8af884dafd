// Package guestinit is pid 1 of tandem's guests.
package guestinit

import (
	"os"
	"path/filepath"
)

// IsInit tells whether this process is what the kernel started as a guest's init: pid 1, under the name init. A
// container's pid 1 may well be tandem too, under its own name.
func IsInit() bool {
	return os.Getpid() == 1 && len(os.Args) > 0 && filepath.Base(os.Args[0]) == "init"
}

// Main is the life of pid 1. It ends with the machine, and never returns.
func Main() { select {} }
