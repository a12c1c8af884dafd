package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
)

// insideWord as the first argument makes this program the process inside. It
// does what it is asked for on its standard input, a line each, and answers
// with a line on descriptor 3.
const insideWord = "inside"

const (
	askLinks     = "links"
	askConfigure = "configure"
	askListen    = "listen"
	askReceive   = "receive"
)

// inside is the other process, as seen from here.
type inside struct {
	cmd       *exec.Cmd
	questions io.WriteCloser
	answers   *bufio.Reader
	pipe      *os.File // that the answers come from
}

func startInside() (*inside, error) {
	cmd := exec.Command("/proc/self/exe", insideWord)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	questions, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer w.Close()
	cmd.ExtraFiles = []*os.File{w}
	if err := cmd.Start(); err != nil {
		r.Close()
		return nil, err
	}
	return &inside{cmd: cmd, questions: questions, answers: bufio.NewReader(r), pipe: r}, nil
}

func (in *inside) pid() int { return in.cmd.Process.Pid }

// ask returns when it is done.
func (in *inside) ask(question string) error {
	if _, err := fmt.Fprintln(in.questions, question); err != nil {
		return err
	}
	if _, err := in.answers.ReadString('\n'); err != nil {
		return fmt.Errorf("ask the process inside for %s: %w", question, err)
	}
	return nil
}

// end may be called again.
func (in *inside) end() error {
	if in.cmd.ProcessState != nil {
		return nil
	}
	in.questions.Close()
	defer in.pipe.Close()
	return in.cmd.Wait()
}

// beInside is the other process.
func beInside() error {
	answers := os.NewFile(3, "answers")
	var ear *ear
	for questions := bufio.NewScanner(os.Stdin); questions.Scan(); {
		var err error
		switch question := questions.Text(); question {
		case askLinks:
			err = showOurLinks("inside")
		case askConfigure:
			err = configure(insideLink, insideAddress)
			fmt.Printf("  inside: %s, %s\n", insideLink, insideAddress)
		case askListen:
			ear, err = listen()
		case askReceive:
			err = ear.receive()
		default:
			err = fmt.Errorf("nobody asks for %q", question)
		}
		if err != nil {
			return fmt.Errorf("inside: %w", err)
		}
		if _, err := fmt.Fprintln(answers); err != nil {
			return err
		}
	}
	return nil
}
