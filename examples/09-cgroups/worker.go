package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// workers are what the processes in the groups do. Each is this program again,
// with one argument, and begins when it is told.
var workers = map[string]func() error{"hog": beHog, "spinner": beSpinner, "echo": beEcho}

// worker is such a process.
type worker struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func startWorker(name string) (*worker, error) {
	return startProgram(exec.Command("/proc/self/exe", name), os.Stderr)
}

func startProgram(cmd *exec.Cmd, complaints io.Writer) (*worker, error) {
	cmd.Stderr = complaints
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return &worker{cmd, in, bufio.NewReader(out)}, cmd.Start()
}

// begin is what a worker waits for: until then it is not yet in its group.
func (w *worker) begin() error {
	_, err := io.WriteString(w.in, "begin\n")
	return err
}

func waitToBegin() error {
	_, err := bufio.NewReader(os.Stdin).ReadString('\n')
	return err
}

// wait gives how the process ended, and what it had printed.
func (w *worker) wait() (state *os.ProcessState, printed string, err error) {
	text, err := io.ReadAll(w.out)
	w.cmd.Wait() // its error is in the state
	return w.cmd.ProcessState, string(text), err
}

// kill is for a worker whose part is over.
func (w *worker) kill() {
	w.cmd.Process.Kill()
	w.cmd.Wait()
}

const mebibyte = 1 << 20

// beHog takes memory and writes to it, a mebibyte after the other. Mapped pages
// count from the first write on, not before.
func beHog() error {
	if err := waitToBegin(); err != nil {
		return err
	}
	for taken := range hogWants / mebibyte {
		block, err := unix.Mmap(-1, 0, mebibyte, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
		if err != nil {
			return err
		}
		for i := 0; i < len(block); i += os.Getpagesize() {
			block[i] = 1
		}
		fmt.Println(taken + 1)
	}
	return nil
}

// beSpinner uses a certain time of a CPU.
func beSpinner() error {
	if err := waitToBegin(); err != nil {
		return err
	}
	var used unix.Timespec
	for time.Duration(used.Nano()) < spinnerWants {
		if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &used); err != nil {
			return err
		}
	}
	return nil
}

// beEcho answers until its input ends.
func beEcho() error {
	_, err := io.Copy(os.Stdout, os.Stdin)
	return err
}

// signal is the one that ended a process, or 0.
func signal(state *os.ProcessState) syscall.Signal {
	status, ok := state.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() {
		return 0
	}
	return status.Signal()
}
