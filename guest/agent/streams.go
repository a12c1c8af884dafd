package agent

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// openStreams makes the command's standard streams and returns its ends of them: with a terminal all three are the
// slave, else pipes, and /dev/null for those that the client does not want. The caller closes the command's ends.
func (x *command) openStreams(p *spec) (theirs [3]*os.File, err error) {
	defer func() {
		if err != nil {
			closeFiles(theirs)
		}
	}()
	if p.tty {
		return x.openTerminalStreams(p)
	}
	if p.stdin {
		var ours *os.File
		if theirs[0], ours, err = pipe(); err != nil {
			return theirs, err
		}
		x.input = newInput(ours, nil)
	}
	if p.stdout {
		if theirs[1], err = x.openOutput(stdoutStream); err != nil {
			return theirs, err
		}
	}
	switch {
	case p.stderr:
		theirs[2], err = x.openOutput(stderrStream)
	case p.stderrToStdout:
		theirs[2], err = duplicate(theirs[1])
	}
	for i := range theirs {
		if err == nil && theirs[i] == nil {
			theirs[i], err = os.OpenFile(os.DevNull, os.O_RDWR, 0)
		}
	}
	return theirs, err
}

func (x *command) openTerminalStreams(p *spec) (theirs [3]*os.File, err error) {
	var owner uint32
	credential, err := p.credential()
	if err != nil {
		return theirs, err
	}
	if credential != nil {
		owner = credential.Uid
	}
	if x.tty, err = openTerminal(p.size, owner); err != nil {
		return theirs, err
	}
	if p.stdin {
		x.input = newInput(x.tty.master, x.tty)
	}
	o := newOutput(stdoutStream, x.tty.master)
	o.shared = true
	x.outputs = append(x.outputs, o)
	for i := range theirs {
		if theirs[i], err = duplicate(x.tty.slave); err != nil {
			break
		}
	}
	return theirs, err
}

func (x *command) openOutput(kind streamKind) (theirs *os.File, err error) {
	ours, theirs, err := pipe()
	if err == nil {
		x.outputs = append(x.outputs, newOutput(kind, ours))
	}
	return theirs, err
}

// closeStreams is for a command that was not started.
func (x *command) closeStreams() {
	if x.input != nil {
		x.input.close()
	}
	for _, o := range x.outputs {
		o.close()
	}
	if x.tty != nil {
		x.tty.close()
	}
}

// pipe is a pipe of which neither end blocks a thread of ours. Handing an end to a process makes that end, and it
// alone, a blocking one (os.File.Fd).
func pipe() (read, write *os.File, err error) {
	if read, write, err = os.Pipe(); err != nil {
		return nil, nil, fmt.Errorf("pipe: %w", err)
	}
	return read, write, nil
}

func duplicate(f *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("dup: %w", err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

func closeFiles(files [3]*os.File) {
	for _, f := range files {
		if f != nil {
			f.Close()
		}
	}
}
