package box

import (
	"os"
	"strconv"
	"testing"
	"time"
)

func TestParseLinks(t *testing.T) {
	text, err := os.ReadFile("/proc/self/net/dev")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parseLinks(text); err != nil {
		t.Error(err)
	}
	const made = "Inter-| Receive\n face |bytes\n" +
		"    lo:    7 1 0 0 0 0 0 0     7 1 0 0 0 0 0 0\n" +
		"a:b:0: 1000 2 0 0 0 0 0 0  3000 4 0 0 0 0 0 0\n eth1:1 2 0 0 0 0 0 0 3 4 0 0 0 0 0 0\n"
	got, err := parseLinks([]byte(made))
	if err != nil || *got != (Traffic{1001, 3003}) {
		t.Errorf("parseLinks = %+v, %v, want 1001 and 3003", got, err)
	}
	for _, bad := range []string{"\n\nx", "\n\nx: 1 2", "\n\nx: 1 0 0 0 0 0 0 0 -1 0 0 0 0 0 0 0"} {
		if got, err := parseLinks([]byte(bad)); err == nil {
			t.Errorf("parseLinks(%q) = %+v, want an error", bad, got)
		}
	}
}

func TestParseProcess(t *testing.T) {
	const made = "12 (a) b) (c) S 11 10 9 34816 -1 4194560 0 0 0 0 150 50 0 0 20 -5 3 0 1000 8192 2 18446744073709551615 0\n"
	boot := time.Unix(1000, 0)
	p, err := parseProcess([]byte(made), boot)
	want := ProcessInfo{
		PID: 12, PPID: 11, PGID: 10, Session: 9, Command: "a) b) (c", State: "S", Terminal: 34816, Threads: 3, Nice: -5,
		CPU: 2 * time.Second, Started: boot.Add(10 * time.Second), Virtual: 8192, Resident: 2 * uint64(os.Getpagesize()),
	}
	if err != nil || p != want {
		t.Errorf("parseProcess = %+v, %v, want %+v", p, err, want)
	}
	boot, err = bootTime()
	if err != nil {
		t.Fatal(err)
	}
	p, err = readProcess(os.Getpid(), boot)
	if err != nil || p.PID != os.Getpid() || p.PPID != os.Getppid() || p.UID != uint32(os.Getuid()) || time.Since(p.Started) > time.Hour {
		t.Errorf("this process: %+v, %v", p, err)
	}
}

// FuzzProc reads texts that a kernel writes, with names in them that a container chose.
func FuzzProc(f *testing.F) {
	for _, name := range []string{"stat", "status", "net/dev"} {
		text, err := os.ReadFile("/proc/" + strconv.Itoa(os.Getpid()) + "/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := parseProcess(text, time.Time{})
		if err == nil && printable(p.Command) != p.Command {
			t.Errorf("a name that a terminal would act on: %q", p.Command)
		}
		_ = p.parseStatus(text)
		_, _ = parseLinks(text)
	})
}
