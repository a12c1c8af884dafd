package guestinit

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"tandem/guest/reap"
	"tandem/internal/tinyelf"
)

// When a session's leader ends, the kernel hangs up the session's terminal (disassociate_ctty, drivers/tty/tty_jobctrl.c),
// and a terminal that is hung up throws away what its line has not sent yet. So the console's program must not be the
// leader: its last words would be lost on a slow line. Its leader is a process between pid 1 and the program:
//
//	pid 1             leader                               program
//	  |---- exec ------>| leads session and terminal
//	  |                 |---- fork, exec ------------------->|
//	  |                 |                                    | ... exit
//	  |<-- status pipe -|<--------- wait4 -------------------
//	  | tcdrain         | read of the hold pipe
//	  |-- close hold -->| exit: now there is nothing to lose
//
// The program stays in the leader's process group, the terminal's foreground, and not in one of its own: so a shell with
// job control makes one as it would below any terminal emulator, a getty can begin a session, and ctrl-Z does not stop a
// program that nobody could continue, as its group is orphaned (setpgid(2)).
//
// pid 1 is no leader itself since ctrl-C would reach it before the program's group is in the foreground. And tandem's
// executable would take its ten milliseconds and megabytes, so the leader is a program of a few hundred bytes
// (leader_amd64.s) in an anonymous file.
type leader struct {
	status *os.File // read: how the program has ended
	hold   *os.File // written never: the leader ends when it is closed
	ended  <-chan reap.Exit
}

// starter starts processes and waits for them: a reap.Reaper.
type starter interface {
	Start(argv0 string, argv []string, attr *syscall.ProcAttr) (int, <-chan reap.Exit, error)
}

// startLeader starts the program below a leader of a session that the terminal controls. The caller closes the leader.
func startLeader(processes starter, tty *os.File, file string, argv, env []string, dir string) (*leader, error) {
	image, err := tinyelf.Create("console", leaderCode(), tinyelf.Memory{})
	if err != nil {
		return nil, err
	}
	defer unix.Close(image)
	status, statusEnd, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer statusEnd.Close()
	holdEnd, hold, err := os.Pipe()
	if err != nil {
		status.Close()
		return nil, err
	}
	defer holdEnd.Close()
	l := &leader{status: status, hold: hold}
	// This process's file by its own number: in the child, other files take the numbers from 0.
	path := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), image)
	_, l.ended, err = processes.Start(path, append([]string{file}, argv...), &syscall.ProcAttr{
		Dir:   dir,
		Env:   env,
		Files: []uintptr{tty.Fd(), tty.Fd(), tty.Fd(), statusEnd.Fd(), holdEnd.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true, Setctty: true},
	})
	if err != nil {
		hold.Close()
		status.Close()
		return nil, err
	}
	return l, nil
}

// wait waits for the program's end. An unix.Errno is execve's error.
func (l *leader) wait() (syscall.WaitStatus, error) {
	var word [4]byte
	if _, err := io.ReadFull(l.status, word[:]); err != nil {
		return (<-l.ended).Status, nil // somebody has killed the leader as well
	}
	status := int32(binary.LittleEndian.Uint32(word[:]))
	if status < 0 {
		return 0, unix.Errno(-status)
	}
	return syscall.WaitStatus(status), nil
}

// close ends the leader, and the session with it: what is left of it gets a SIGHUP from the kernel and has no terminal
// any more.
func (l *leader) close() {
	l.hold.Close()
	<-l.ended
	l.status.Close()
}
