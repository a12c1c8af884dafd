package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

// childWord as the first argument makes this program the one in the
// namespaces: a copy of a Go program cannot go on after clone(2), see lesson 7.
// The engine's child can, as it is no Go program: see container/child.
const childWord = "child"

// beChild does the child's part of each step up to one, and becomes the
// container's command.
func beChild(args []string) error {
	upTo, err := findStep(args[0])
	if err != nil {
		return err
	}
	root, command := args[1], args[2:]
	wait := os.NewFile(3, "wait")
	if _, err := io.Copy(io.Discard, wait); err != nil {
		return err
	}
	wait.Close() // nothing of the host's may be left open when the command runs
	for _, s := range steps[:upTo+1] {
		if s.child == nil {
			continue
		}
		if err := s.child(root); err != nil {
			return fmt.Errorf("step %s: %w", s.name, err)
		}
	}
	if upTo < stepShell {
		return showProcess()
	}
	if len(command) == 0 {
		command = []string{"busybox", "sh", "-c", steps[upTo].show}
	}
	path, err := exec.LookPath(command[0])
	if err != nil {
		return err
	}
	return &os.PathError{Op: "execve", Path: path, Err: unix.Exec(path, command, os.Environ())}
}

// showProcess is for a container that executes nothing yet.
func showProcess() error {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return fmt.Errorf("uname: %w", err)
	}
	fmt.Printf("  uname() says %s, getpid() says %d\n", unix.ByteSliceToString(name.Nodename[:]), os.Getpid())
	return nil
}

func setName(string) error {
	if err := unix.Sethostname([]byte("box")); err != nil {
		return fmt.Errorf("sethostname: %w", err)
	}
	return nil
}
