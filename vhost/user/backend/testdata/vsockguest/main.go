// Command vsockguest is what TestVsockQEMU runs in its guest: it connects to the host, is connected to, and says what came
// of it on the console.
package main

import (
	"crypto/md5"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

func say(format string, a ...any) { fmt.Printf("RESULT "+format+"\n", a...) }

func dial(port uint32) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Connect(fd, &unix.SockaddrVM{CID: unix.VMADDR_CID_HOST, Port: port}); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), "vsock"), nil
}

func main() {
	go echo()
	_, err := dial(999)
	say("nobody: %v", err)
	say("bulk: %v", bulk())
	say("echoes: %d", many(100))
	if end, err := dial(54); err == nil { // the host's turn, until it hangs up
		_, _ = end.Read(make([]byte, 1))
	}
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

// echo answers the host's connections.
func echo() {
	l, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0)
	if err == nil {
		err = unix.Bind(l, &unix.SockaddrVM{CID: unix.VMADDR_CID_ANY, Port: 1024})
	}
	if err == nil {
		err = unix.Listen(l, 200)
	}
	for err == nil {
		var fd int
		if fd, _, err = unix.Accept(l); err == nil {
			go func() {
				f := os.NewFile(uintptr(fd), "connection")
				_, _ = io.Copy(f, io.MultiReader(f))
				f.Close()
			}()
		}
	}
	say("echo: %v", err)
}

// bulk sends 16 MiB, and is told their digest.
func bulk() error {
	f, err := dial(52)
	if err != nil {
		return err
	}
	defer f.Close()
	sum, b := md5.New(), make([]byte, 1<<20)
	for i := range 16 {
		for j := range b {
			b[j] = byte(j*7 + i + j>>8)
		}
		sum.Write(b)
		if _, err := f.Write(b); err != nil {
			return err
		}
	}
	if err := unix.Shutdown(int(f.Fd()), unix.SHUT_WR); err != nil {
		return err
	}
	got, err := io.ReadAll(f)
	if want := fmt.Sprintf("%x", sum.Sum(nil)); err == nil && string(got) != want {
		err = fmt.Errorf("the host got %s, want %s", got, want)
	}
	return err
}

// many makes connections at once, and counts those that answer with what they were told.
func many(n int) int {
	var group sync.WaitGroup
	var ok atomic.Int32
	for i := range n {
		group.Go(func() {
			f, err := dial(53)
			if err != nil {
				say("connection %d: %v", i, err)
				return
			}
			defer f.Close()
			text := fmt.Sprintf("hello %d", i)
			fmt.Fprint(f, text)
			_ = unix.Shutdown(int(f.Fd()), unix.SHUT_WR)
			if got, err := io.ReadAll(f); err == nil && string(got) == text {
				ok.Add(1)
			}
		})
	}
	group.Wait()
	return int(ok.Load())
}
