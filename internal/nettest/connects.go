package nettest

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Each connection is asked for one number, and answers with its successor. The answering end closes first, so that the
// TIME_WAIT is its own, and the other one does not run out of ports.

const (
	atOnce   = 16               // connections of a client
	patience = 30 * time.Second // for one of them
	question = 8                // bytes
)

// connects is the program's name.
const connects = "connects"

// Main is for TestMain: a test's own executable is the program too, under another name.
func Main() {
	if filepath.Base(os.Args[0]) != connects {
		return
	}
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func run(args []string) error {
	switch {
	case len(args) == 3 && args[0] == "dial":
		count, err := strconv.Atoi(args[2])
		if err != nil {
			return err
		}
		return Dial(new(net.Dialer).Dial, args[1], count)
	case len(args) == 2 && args[0] == "serve":
		l, err := net.Listen("tcp", args[1])
		if err != nil {
			return err
		}
		fmt.Println("listening")
		for {
			if err := answerNext(l, nil); err != nil {
				return err
			}
		}
	}
	return fmt.Errorf("%s: %q", connects, args)
}

// Connects puts the program into a root file system: `/bin/connects dial ADDRESS COUNT`, `/bin/connects serve ADDRESS`.
func Connects(r *RootFS) {
	r.t.Helper()
	self, err := os.Executable()
	r.must(err)
	r.Add(self, "bin/"+connects)
}

// Dial makes so many connections, several at once. The error is the first one's that was not answered.
func Dial(dial func(network, address string) (net.Conn, error), address string, count int) error {
	var next atomic.Uint64
	errs := make(chan error, atOnce)
	for range atOnce {
		go func() {
			for n := next.Add(1); n <= uint64(count); n = next.Add(1) {
				if err := ask(dial, address, n); err != nil {
					next.Store(uint64(count)) // the others need not go on
					errs <- fmt.Errorf("connection %d of %d: %w", n, count, err)
					return
				}
			}
			errs <- nil
		}()
	}
	var first error
	for range atOnce {
		if err := <-errs; first == nil {
			first = err
		}
	}
	return first
}

func ask(dial func(network, address string) (net.Conn, error), address string, n uint64) error {
	c, err := dial("tcp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := c.Write(binary.BigEndian.AppendUint64(nil, n)); err != nil {
		return err
	}
	b, err := io.ReadAll(c)
	if err != nil {
		return err
	}
	if want := binary.BigEndian.AppendUint64(nil, n+1); string(b) != string(want) {
		return fmt.Errorf("the answer is %x, want %x", b, want)
	}
	return nil
}

// Answer answers until the test is over, and tells how often it did.
func Answer(t testing.TB, l net.Listener) (answered func() int) {
	var count atomic.Int64
	var done sync.WaitGroup
	done.Go(func() {
		for answerNext(l, &count) == nil { // until it is closed
		}
	})
	t.Cleanup(func() {
		l.Close()
		done.Wait()
	})
	return func() int { return int(count.Load()) }
}

// answerNext takes a connection and has it answered. Whoever asked something else gets no answer.
func answerNext(l net.Listener, count *atomic.Int64) error {
	c, err := l.Accept()
	if err != nil {
		return err
	}
	go func() {
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(patience))
		b := make([]byte, question)
		if _, err := io.ReadFull(c, b); err != nil {
			return
		}
		if count != nil {
			count.Add(1)
		}
		_, _ = c.Write(binary.BigEndian.AppendUint64(nil, binary.BigEndian.Uint64(b)+1))
	}()
	return nil
}
