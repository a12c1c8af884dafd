package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
)

// insideWord as the first argument makes this program the process inside.
//
// clone(2) returns twice, and a program in C goes on in the child. One in Go
// can not: the child has one thread, and the runtime was made of several. So
// the child executes this program once more, which begins anew, with all its
// threads in the namespace. (The engine does without that second start, see
// container/child.)
const insideWord = "inside"

// stop is one kind of namespace.
type stop struct {
	name  string // of its link in /proc/PID/ns
	call  string // what makes one
	about string // what it is that processes in it have for themselves

	// prepare says how the process inside is started, and gives what to do once
	// it is.
	prepare func(cmd *exec.Cmd) (*visitor, error)
	// inside runs there. The arguments are those that prepare has added.
	inside func(args []string) error
}

// visitor is what happens outside.
type visitor struct {
	look  func(pid int) error // while the process inside waits, having done its part
	leave func() error        // at the end, or nil
}

// Descriptors of the process inside, after the standard three.
const (
	begin = 3 + iota // end of file: do your part
	done             // a byte: it is there; closed: it has done its part
	end              // end of file: go
)

func (s *stop) visit() (err error) {
	fmt.Printf("%s: %s: %s\n", s.name, s.call, s.about)
	cmd := exec.Command("/proc/self/exe", insideWord, s.name)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	v, err := s.prepare(cmd)
	if err != nil {
		return err
	}
	if v.leave != nil {
		defer func() {
			if leaveErr := v.leave(); err == nil {
				err = leaveErr
			}
		}()
	}

	var ours, theirs [3]*os.File
	for i, toChild := range [3]bool{true, false, true} {
		r, w, err := os.Pipe()
		if err != nil {
			return err
		}
		defer r.Close()
		defer w.Close()
		if ours[i], theirs[i] = r, w; toChild {
			ours[i], theirs[i] = w, r
		}
	}
	cmd.ExtraFiles = theirs[:]
	if err := cmd.Start(); err != nil {
		return err
	}
	for _, f := range theirs {
		f.Close()
	}
	err = s.guide(cmd.Process.Pid, ours, v.look)
	for _, f := range ours {
		f.Close() // so that it ends, whatever happened
	}
	if waitErr := cmd.Wait(); waitErr != nil {
		return waitErr // it has said why
	}
	return err
}

// guide takes turns with the process inside.
func (s *stop) guide(pid int, ours [3]*os.File, look func(pid int) error) error {
	if _, err := io.ReadFull(ours[1], make([]byte, 1)); err != nil {
		return fmt.Errorf("the process inside does not begin: %w", err)
	}
	if err := s.compare(pid); err != nil {
		return err
	}
	ours[0].Close()
	if _, err := io.Copy(io.Discard, ours[1]); err != nil {
		return err
	}
	return look(pid)
}

// compare reads the links in /proc/PID/ns, ours and those of the process inside. A
// link's text is the namespace's name: its kind, and the inode number that it
// has in the kernel's own nsfs.
func (s *stop) compare(pid int) error {
	shared := 0
	for i := range stops {
		name := stops[i].name
		outside, err := os.Readlink("/proc/self/ns/" + name)
		if err != nil {
			return err
		}
		inside, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "ns", name))
		if err != nil {
			return err
		}
		switch {
		case outside == inside:
			shared++
		case name == s.name:
			fmt.Printf("  /proc/PID/ns/%s: outside %s, inside %s\n", name, outside, inside)
		default:
			return fmt.Errorf("%s is %s inside and %s outside, and nobody asked for that", name, inside, outside)
		}
	}
	fmt.Printf("  and %d of %d are shared\n", shared, len(stops))
	return nil
}

// beInside is the other half of visit.
func beInside(name string, args []string) error {
	for i := range stops {
		if stops[i].name != name {
			continue
		}
		done := os.NewFile(done, "done")
		if _, err := done.Write([]byte{0}); err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, os.NewFile(begin, "begin")); err != nil {
			return err
		}
		if err := stops[i].inside(args); err != nil {
			return fmt.Errorf("%s, inside: %w", name, err)
		}
		if err := done.Close(); err != nil {
			return err
		}
		_, err := io.Copy(io.Discard, os.NewFile(end, "end"))
		return err
	}
	return fmt.Errorf("no namespace is called %q", name)
}
