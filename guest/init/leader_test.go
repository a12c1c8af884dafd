package guestinit

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tandem/guest/reap"
	"tandem/internal/testenv"
)

// terminal is a pseudo-terminal, and what its user sees.
type terminal struct {
	*os.File // the user's end
	tty      *os.File

	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{} // something has come
}

func newTerminal(t *testing.T) *terminal {
	t.Helper()
	user, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(user.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(user.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	tty, err := openTerminal(fmt.Sprintf("/dev/pts/%d", number))
	if err != nil {
		t.Fatal(err)
	}
	e := &terminal{File: user, tty: tty, more: make(chan struct{}, 1)}
	read := make(chan struct{})
	go func() {
		defer close(read)
		b := make([]byte, 4096)
		for {
			n, err := user.Read(b)
			if err != nil {
				return
			}
			e.mu.Lock()
			e.text.Write(b[:n])
			e.mu.Unlock()
			select {
			case e.more <- struct{}{}:
			default:
			}
		}
	}()
	t.Cleanup(func() {
		tty.Close() // ends the reader: EIO
		<-read
		user.Close()
	})
	return e
}

func (e *terminal) String() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.text.String()
}

// expect waits for text that the terminal has shown.
func (e *terminal) expect(t *testing.T, text string) {
	t.Helper()
	late := time.After(patience)
	for !strings.Contains(e.String(), text) {
		select {
		case <-e.more:
		case <-late:
			t.Fatalf("no %q in %q", text, e)
		}
	}
}

func (e *terminal) say(t *testing.T, text string) {
	t.Helper()
	if _, err := e.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

// lead starts a program, which ends with the test.
func (e *terminal) lead(t *testing.T, file string, argv ...string) *leader {
	t.Helper()
	env := []string{"PATH=/usr/bin:/bin", "GREETING=hello", "TERM=dumb", "PS1=$ "}
	l, err := startLeader(reap.Each{}, e.tty, file, argv, env, "/")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if session, err := unix.IoctlGetInt(int(e.Fd()), unix.TIOCGSID); err == nil {
			unix.Kill(-session, unix.SIGKILL)
		}
		l.hold.Close()
	})
	return l
}

// TestLeaderStatus looks at how a program's end is told, and what it was started with.
func TestLeaderStatus(t *testing.T) {
	for _, test := range []struct {
		name, file string
		script     string
		status     unix.WaitStatus
		err        error
		want       string
	}{
		{"exit", "/bin/sh", "exit 7", 7 << 8, nil, ""},
		{"signal", "/bin/sh", "kill -TERM $$", unix.WaitStatus(unix.SIGTERM), nil, ""},
		{"arguments", "/bin/sh", `echo "$0,$1,$GREETING,$PWD."`, 0, nil, "zero,one,hello,/."},
		{"mask", "/bin/sh", "grep ^SigBlk: /proc/self/status", 0, nil, "SigBlk:\t0000000000000000\r\n"},
		{"descriptors", "/bin/sh", "[ -e /proc/$$/fd/3 ] || [ -e /proc/$$/fd/4 ] || echo none", 0, nil, "none"},
		{"leader", "/bin/sh", "cat /proc/$PPID/comm; [ $(ps -o sid= $$) = $PPID ] && [ $(ps -o tpgid= $$) = $PPID ] && echo leads", 0, nil, "console\r\nleads"},
		{"session of its own", "/bin/sh", "exec setsid sh -c 'ps -o sid= $$ | grep -q $$ && echo own'", 0, nil, "own"},
		{"no file", "/no/such/file", "", 0, unix.ENOENT, ""},
		{"no program", "/etc/passwd", "", 0, unix.EACCES, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			testenv.Need(t, testenv.Root)
			e := newTerminal(t)
			l := e.lead(t, test.file, "sh", "-c", test.script, "zero", "one")
			status, err := l.wait()
			if !errors.Is(err, test.err) || uint32(status) != uint32(test.status) {
				t.Errorf("status %#x, %v; want %#x, %v", status, err, test.status, test.err)
			}
			e.expect(t, test.want)
			l.close()
		})
	}
}

// TestLeaderKilled kills the program's group, and its leader with it.
func TestLeaderKilled(t *testing.T) {
	testenv.Need(t, testenv.Root)
	l := newTerminal(t).lead(t, "/bin/sh", "sh", "-c", "kill -KILL 0")
	if status, err := l.wait(); err != nil || !status.Signaled() || status.Signal() != unix.SIGKILL {
		t.Errorf("status %#x, %v", status, err)
	}
	l.hold.Close()
	l.status.Close()
}

// TestLeaderHolds looks at the session between the program's end and the leader's.
func TestLeaderHolds(t *testing.T) {
	testenv.Need(t, testenv.Root)
	e := newTerminal(t)
	l := e.lead(t, "/bin/sh", "sh", "-c", "trap '' TERM; (trap 'echo hung up; exit' HUP; echo waits; for i in $(seq 300); do sleep 0.1; done) & exit 0")
	if status, err := l.wait(); err != nil || status != 0 {
		t.Fatalf("status %#x, %v", status, err)
	}
	e.expect(t, "waits")
	session, err := unix.IoctlGetInt(int(e.Fd()), unix.TIOCGSID)
	if err != nil {
		t.Errorf("the terminal has lost its session: %v", err)
	}
	l.close()
	e.expect(t, "hung up")
	if err := unix.Kill(session, 0); err != unix.ESRCH {
		t.Errorf("the leader is there: %v", err)
	}
}

// TestLeaderJobs types at a shell, and at a program without one.
func TestLeaderJobs(t *testing.T) {
	for _, shell := range []string{"/bin/sh", "/bin/bash"} {
		t.Run(shell, func(t *testing.T) {
			testenv.Need(t, testenv.Root)
			e := newTerminal(t)
			argv := []string{"sh", "-i"}
			if shell == "/bin/bash" {
				argv = []string{"bash", "--norc", "--noediting", "-i"}
			}
			l := e.lead(t, shell, argv...)
			e.say(t, "echo $((6*7)) $-\n")
			e.expect(t, "42 ")
			if text := e.String(); strings.Contains(text, "job control") {
				t.Errorf("the shell says %q", text)
			}
			e.say(t, "sh -c 'echo first $((1+1)); exec sleep 1000'\n")
			e.expect(t, "first 2\r\n")
			e.say(t, "\x03")
			e.say(t, "sh -c 'echo second $((1+1)); exec sleep 1000'\n")
			e.expect(t, "second 2\r\n")
			e.say(t, "\x1a")
			e.expect(t, "Stopped")
			e.say(t, "kill %1; fg; echo third $((1+1))\n")
			e.expect(t, "third 2\r\n")
			e.say(t, "exit 3\n")
			if status, err := l.wait(); err != nil || status.ExitStatus() != 3 {
				t.Errorf("status %#x, %v", status, err)
			}
			l.close()
		})
	}
	t.Run("no shell", func(t *testing.T) {
		testenv.Need(t, testenv.Root)
		e := newTerminal(t)
		l := e.lead(t, "/bin/cat", "cat")
		e.say(t, "one\n")
		e.expect(t, "one\r\none\r\n")
		// Stopped, it would stay so.
		e.say(t, "\x1atwo\n")
		e.expect(t, "two\r\ntwo\r\n")
		e.say(t, "\x03")
		if status, err := l.wait(); err != nil || !status.Signaled() || status.Signal() != unix.SIGINT {
			t.Errorf("status %#x, %v", status, err)
		}
		l.close()
	})
}
