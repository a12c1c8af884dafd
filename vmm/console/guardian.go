package console

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"syscall"
)

// guardian is a process that outlives this one by a moment. It holds the read end
// of a pipe whose only write end is here, so that it learns of this process' end
// whatever the cause, a panic in any goroutine or SIGKILL, and gives the terminal
// back in the state in which it found it.
//
// It is a shell with stty, that every system has: far smaller than a second copy
// of this program. It is in a session of its own, so that no signal from the
// terminal reaches it, and it may change a terminal which is not its own without
// being stopped as a background job (SIGTTOU).
type guardian struct {
	pipe io.WriteCloser
	cmd  *exec.Cmd
}

// The guardian's script. Descriptor 3 is the terminal. It answers once it has the
// state; a line means that it is not needed any more, the pipe's end that it is.
const guardianScript = `state=$(stty -g <&3) || exit; echo; read line || stty "$state" <&3`

// newGuardian starts a guardian of the terminal and waits until it has noted its
// state. Without a shell there is none: nil, which may be used.
func newGuardian(terminal *os.File) *guardian {
	cmd := exec.Command("/bin/sh", "-c", guardianScript)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.ExtraFiles = []*os.File{terminal}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		in.Close()
		return nil
	}
	if err := cmd.Start(); err != nil {
		return nil
	}
	g := &guardian{pipe: in, cmd: cmd}
	if _, err := bufio.NewReader(out).ReadByte(); err != nil {
		g.dismiss()
		return nil
	}
	return g
}

// dismiss ends the guardian without its doing anything.
func (g *guardian) dismiss() {
	if g == nil {
		return
	}
	_, _ = io.WriteString(g.pipe, "\n")
	g.pipe.Close()
	_ = g.cmd.Wait()
}
